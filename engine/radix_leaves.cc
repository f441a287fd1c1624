// A binary heap whose entries know their position.
#include "engine/radix_leaves.h"

#include <utility>

#include "base/check.h"

namespace coppice::engine {

void RadixLeaves::push(RadixNodeId node) {
  nodes_[node].heap_position = static_cast<std::uint32_t>(heap_.size());
  heap_.push_back(node);
  settle(heap_.size() - 1);
}

void RadixLeaves::remove(RadixNodeId node) {
  const std::size_t position = nodes_[node].heap_position;
  nodes_[node].heap_position = kNoRadixNode;
  const RadixNodeId moved = heap_.back();
  heap_.pop_back();
  if (moved != node) {
    heap_[position] = moved;
    nodes_[moved].heap_position = static_cast<std::uint32_t>(position);
    settle(position);
  }
}

// Moves the entry at `position` up or down to where the order holds.
void RadixLeaves::settle(std::size_t position) {
  const auto swap_with = [this, &position](std::size_t other) {
    std::swap(heap_[position], heap_[other]);
    nodes_[heap_[position]].heap_position = static_cast<std::uint32_t>(position);
    nodes_[heap_[other]].heap_position = static_cast<std::uint32_t>(other);
    position = other;
  };
  while (position > 0 && older(heap_[position], heap_[(position - 1) / 2])) {
    swap_with((position - 1) / 2);
  }
  for (std::size_t child = 2 * position + 1; child < heap_.size(); child = 2 * position + 1) {
    if (child + 1 < heap_.size() && older(heap_[child + 1], heap_[child])) {
      ++child;
    }
    if (!older(heap_[child], heap_[position])) {
      break;
    }
    swap_with(child);
  }
}

void RadixLeaves::check_position(RadixNodeId node) const {
  const std::size_t position = nodes_[node].heap_position;
  COPPICE_CHECK(position < heap_.size() && heap_[position] == node, "a leaf knows its position in the heap");
  const std::size_t up = position == 0 ? 0 : (position - 1) / 2;
  COPPICE_CHECK(!older(node, heap_[up]), "the heap is in order");
}

}  // namespace coppice::engine
