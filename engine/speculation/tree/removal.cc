// Taking sequences out of a suffix tree.
#include "engine/speculation/tree/removal.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace coppice::engine::suffix_tree {

bool Removal::remove(SequenceId sequence, std::size_t count) {
  const Sequence& record = store_.texts[sequence];
  COPPICE_CHECK(record.growing == kNotGrowing && !record.is_gone, "only finished sequences are removed, once");
  for (; count > 0 && record.removed < record.length; --count) {
    remove_suffix(sequence, record.removed);
    store_.texts.drop_suffix(sequence);
  }
  if (record.removed < record.length) {
    return false;
  }
  store_.texts.drop_sequence(sequence);
  return true;
}

void Removal::remove_suffix(SequenceId sequence, std::uint32_t start) {
  const Sequence& record = store_.texts[sequence];
  const std::uint32_t length = std::min(store_.depth, record.length - start);
  std::array<NodeId, kDepthMax> path;
  std::size_t path_size = 0;
  --store_.nodes[kRoot].count;
  NodeId number = kRoot;
  for (std::uint32_t depth = 0; depth < length; depth = store_.nodes[number].depth) {
    number = store_.nodes.child(number, record.tokens[start + depth]);
    COPPICE_CHECK(number != kNoNode, "a stored suffix has its path");
    --store_.nodes[number].count;
    path[path_size++] = number;
  }
  while (path_size > 0) {
    number = path[--path_size];
    Node& node = store_.nodes[number];
    if (node.count == 0) {
      remove_or_shorten(number);
      continue;
    }
    if (node.sequence == sequence && node.first_child != kNoNode) {
      const Node& below = store_.nodes[node.first_child];  // any text through a child runs through here too
      store_.set_label(node, below.sequence, below.end - below.depth + node.depth);
    }
    merge_if_idle(number);
  }
}

void Removal::remove_or_shorten(NodeId number) {
  Node& node = store_.nodes[number];
  COPPICE_CHECK(node.first_child == kNoNode, "a node without suffixes has no children");
  if (node.inner_ends == kNoEnd) {
    store_.nodes.detach(number);
    destroy(number);
    return;
  }
  EndId deepest = node.inner_ends;
  for (EndId id = node.inner_ends; id != kNoEnd; id = store_.ends[id].next) {
    deepest = store_.ends[id].depth > store_.ends[deepest].depth ? id : deepest;
  }
  End& end = store_.ends[deepest];
  node.depth = end.depth;
  node.end = end.start + 0U + end.depth;
  store_.texts.drop_label(node.sequence);
  node.sequence = store_.ends.sequence(deepest) & (kSequencesMax - 1);
  store_.texts.add_label(node.sequence);
  store_.settle_ends(number, number, node.depth);
  if (node.count == 1) {
    node.depth = store_.depth & kDepthMax;
    node.end = end.start + store_.depth;
    end.node = kNoNode;
  }
}

void Removal::merge_if_idle(NodeId number) {
  Node& node = store_.nodes[number];
  const NodeId lower_number = node.first_child;
  if (lower_number == kNoNode || store_.nodes[lower_number].next != kNoNode) {
    return;
  }
  Node& lower = store_.nodes[lower_number];
  if (node.count != lower.count + store_.ends.count_inside(lower, 0)) {
    return;
  }
  store_.nodes.detach(lower_number);
  store_.nodes.replace(number, lower_number);
  while (node.inner_ends != kNoEnd) {
    const EndId id = node.inner_ends;
    store_.ends.unlink(node, id);
    store_.ends.link(lower, lower_number, id);
  }
  destroy(number);
}

void Removal::destroy(NodeId number) {
  store_.texts.drop_label(store_.nodes[number].sequence);
  store_.nodes.destroy(number);
}

}  // namespace coppice::engine::suffix_tree
