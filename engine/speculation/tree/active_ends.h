// ActiveEnds: where the suffixes of the growing sequences of a suffix tree end. A suffix that other suffixes run
// through too is active, and each token that its sequence takes advances its end. An end inside an edge stands in that
// edge's list.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/speculation/tree/records.h"

namespace coppice::engine::suffix_tree {

// Owner and thread: one, the same.
class ActiveEnds {
 public:
  // `depth`: of the tree. A sequence has at most that number of active ends.
  explicit ActiveEnds(std::uint32_t depth);

  // Ends for a sequence that starts to grow; their index. None is active.
  std::uint32_t open(SequenceId sequence);
  void close(std::uint32_t growing) { free_.push_back(growing); }
  Growing& growing(std::uint32_t index) { return *growing_[index]; }
  const Growing& growing(std::uint32_t index) const { return *growing_[index]; }

  // The end of the suffix that starts at token `start`.
  End& at(Growing& growing, std::uint32_t start) { return growing.ring[start & ring_mask_]; }
  const End& at(const Growing& growing, std::uint32_t start) const { return growing.ring[start & ring_mask_]; }
  EndId id(std::uint32_t growing, std::uint32_t start) const { return growing << ring_bits_ | (start & ring_mask_); }
  End& operator[](EndId end) { return growing_[end >> ring_bits_]->ring[end & ring_mask_]; }
  const End& operator[](EndId end) const { return growing_[end >> ring_bits_]->ring[end & ring_mask_]; }
  SequenceId sequence(EndId end) const { return growing_[end >> ring_bits_]->sequence; }

  // Puts an end into the list of the edge above `number`, which is `node`; takes it out.
  void link(Node& node, NodeId number, EndId end);
  void unlink(Node& node, EndId end);
  // How many ends inside the edge above the node are at least `depth` deep.
  std::uint32_t count_inside(const Node& node, std::uint32_t depth) const {
    std::uint32_t count = 0;
    for (EndId end = node.inner_ends; end != kNoEnd; end = (*this)[end].next) {
      count += (*this)[end].depth >= depth ? 1 : 0;
    }
    return count;
  }

  std::size_t bytes() const { return growing_.size() * (sizeof(Growing) + ring_size() * sizeof(End)); }

 private:
  std::size_t ring_size() const { return std::size_t{ring_mask_} + 1; }

  const std::uint32_t ring_bits_;
  const std::uint32_t ring_mask_;
  std::vector<std::unique_ptr<Growing>> growing_;
  std::vector<std::uint32_t> free_;
};

}  // namespace coppice::engine::suffix_tree
