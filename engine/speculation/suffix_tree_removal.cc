// Taking sequences out of a suffix tree, a suffix at a time, and the check of all invariants.
#include <algorithm>
#include <string>

#include "engine/speculation/suffix_tree.h"

namespace coppice::engine {

bool SuffixTree::remove(SequenceId sequence, std::size_t count) {
  Sequence& record = sequences_[sequence];
  COPPICE_CHECK(record.live == kNotLive && !record.is_gone, "only finished sequences are removed, once");
  for (; count > 0 && record.removed < record.length; --count) {
    remove_suffix(sequence, record.removed);
    ++record.removed;
    --token_count_;
  }
  if (record.removed < record.length) {
    return false;
  }
  record.is_gone = true;
  if (record.labels == 0) {
    retire(sequence);
  }
  return true;
}

void SuffixTree::retire(SequenceId sequence) {
  Sequence& record = sequences_[sequence];
  text_bytes_ -= record.text->capacity() * sizeof(TokenId);
  record = Sequence{};
  free_sequences_.push_back(sequence);
}

void SuffixTree::drop_label(SequenceId sequence) {
  Sequence& record = sequences_[sequence];
  --record.labels;
  if (record.is_gone && record.labels == 0) {
    retire(sequence);
  }
}

void SuffixTree::remove_suffix(SequenceId sequence, std::uint32_t start) {
  const Sequence& record = sequences_[sequence];
  const std::uint32_t length = std::min(depth_, record.length - start);
  NodeId path[kDepthMax];
  std::size_t path_size = 0;
  --nodes_[kRoot].count;
  NodeId number = kRoot;
  for (std::uint32_t depth = 0; depth < length; depth = nodes_[number].depth) {
    number = child(number, record.tokens[start + depth]);
    COPPICE_CHECK(number != kNoNode, "a stored suffix has its path");
    --nodes_[number].count;
    path[path_size++] = number;
  }
  while (path_size > 0) {
    number = path[--path_size];
    Node& node = nodes_[number];
    if (node.count == 0) {
      remove_node_or_adopt(number);
      continue;
    }
    if (node.sequence == sequence && node.first_child != kNoNode) {
      const Node& below = nodes_[node.first_child];  // any text through a child runs through here too
      set_label(node, below.sequence, below.end - below.depth + node.depth);
    }
    merge_if_idle(number);
  }
}

// No suffix reaches the node's end any more. If growing ones are inside its edge, the edge ends where the furthest of
// them is; when that is a single one, it goes on as the leaf's writer. The others follow.
void SuffixTree::remove_node_or_adopt(NodeId number) {
  Node& node = nodes_[number];
  COPPICE_CHECK(node.first_child == kNoNode, "a node without suffixes has no children");
  if (node.riders == kNoRider) {
    unlink_child(number);
    index_.erase(ChildIndex::hash(node.parent, node.token), number);
    free_node(number);
    return;
  }
  std::uint32_t furthest = node.riders;
  for (std::uint32_t rider = node.riders; rider != kNoRider; rider = active_of(rider).next) {
    furthest = active_of(rider).depth > active_of(furthest).depth ? rider : furthest;
  }
  Active& active = active_of(furthest);
  node.depth = active.depth;
  node.end = active.start + 0U + active.depth;
  drop_label(node.sequence);
  node.sequence = sequence_of(furthest) & 0xFFFFFF;
  ++sequences_[node.sequence].labels;
  settle_riders(number, number, node.depth);
  if (node.count == 1) {
    node.depth = depth_ & 0xFF;
    node.end = active.start + depth_;
    active.node = kNoNode;
  }
}

// A node at which nothing ends or branches has no reason to be.
void SuffixTree::merge_if_idle(NodeId number) {
  const Node& node = nodes_[number];
  const NodeId lower_number = node.first_child;
  if (lower_number == kNoNode || nodes_[lower_number].next != kNoNode) {
    return;
  }
  Node& lower = nodes_[lower_number];
  if (node.count != lower.count + riders_at(lower, 0)) {
    return;
  }
  index_.erase(ChildIndex::hash(number, lower.token), lower_number);
  take_place(lower_number, number);
  while (node.riders != kNoRider) {
    const std::uint32_t rider = node.riders;
    unlink_rider(number, rider);
    link_rider(lower_number, rider);
  }
  free_node(number);
}

}  // namespace coppice::engine
