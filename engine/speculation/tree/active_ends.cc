// The active ends of growing sequences, and the lists of those inside an edge.
#include "engine/speculation/tree/active_ends.h"

#include <algorithm>
#include <bit>

namespace coppice::engine::suffix_tree {

ActiveEnds::ActiveEnds(std::uint32_t depth)
    : ring_bits_(static_cast<std::uint32_t>(std::bit_width(depth))), ring_mask_((1U << ring_bits_) - 1) {}

std::uint32_t ActiveEnds::open(SequenceId sequence) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(growing_.size()));
    growing_.push_back(std::make_unique<Growing>());
    growing_.back()->ring = std::make_unique<End[]>(ring_size());
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  growing_[index]->sequence = sequence;
  growing_[index]->first = 0;
  std::fill_n(growing_[index]->ring.get(), ring_size(), End{});
  return index;
}

void ActiveEnds::link(Node& node, NodeId number, EndId id) {
  End& end = (*this)[id];
  end.node = number;
  end.previous = kNoEnd;
  end.next = node.inner_ends;
  if (node.inner_ends != kNoEnd) {
    (*this)[node.inner_ends].previous = id;
  }
  node.inner_ends = id;
}

void ActiveEnds::unlink(Node& node, EndId id) {
  End& end = (*this)[id];
  if (end.previous != kNoEnd) {
    (*this)[end.previous].next = end.next;
  } else {
    node.inner_ends = end.next;
  }
  if (end.next != kNoEnd) {
    (*this)[end.next].previous = end.previous;
  }
  end.next = kNoEnd;
  end.previous = kNoEnd;
}

}  // namespace coppice::engine::suffix_tree
