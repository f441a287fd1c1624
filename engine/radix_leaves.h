// RadixLeaves: the unlocked leaves of a radix tree, least recently used first.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/radix_nodes.h"

namespace coppice::engine {

// A binary heap by RadixNode::last_use; each node knows its position in it. Owner: a RadixTree. Thread: the engine's.
class RadixLeaves {
 public:
  RadixLeaves(RadixNodes& nodes, std::int32_t leaves_max) : nodes_(nodes) {
    heap_.reserve(static_cast<std::size_t>(leaves_max) + 1);
  }

  bool empty() const { return heap_.empty(); }
  // The least recently used. REQUIRES: !empty().
  RadixNodeId front() const { return heap_.front(); }
  void push(RadixNodeId node);
  // REQUIRES: the node is in the heap.
  void remove(RadixNodeId node);
  // COPPICE_CHECKs that the node is where it says and the heap in order there.
  void check_position(RadixNodeId node) const;

 private:
  void settle(std::size_t position);
  bool older(RadixNodeId left, RadixNodeId right) const { return nodes_[left].last_use < nodes_[right].last_use; }

  RadixNodes& nodes_;
  std::vector<RadixNodeId> heap_;
};

}  // namespace coppice::engine
