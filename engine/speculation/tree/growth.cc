// Growing a suffix tree: advancing the ends of a sequence's suffixes by a token, splitting edges.
#include "engine/speculation/tree/growth.h"

#include <algorithm>

#include "base/check.h"

namespace coppice::engine::suffix_tree {
namespace {

// Depths and starts that are known to fit are cut to the width of their bit field.
constexpr std::uint32_t kDepthBits = kDepthMax;
constexpr std::uint32_t kStartBits = kTokensMax - 1;

}  // namespace

void Growth::enter_token(SequenceId sequence) {
  const std::uint32_t index = store_.texts[sequence].growing;
  Growing& growing = store_.ends.growing(index);
  const std::uint32_t at = store_.texts[sequence].length;
  const TokenId token = store_.texts.enter_next(sequence);
  ++store_.nodes[kRoot].count;
  store_.ends.at(growing, at) = {kRoot, at & kStartBits, 0, kNoEnd, kNoEnd};
  if (at - growing.first > 1) {
    prefetch_children(growing, at, token);
  }
  std::uint32_t first = at + 1;  // of those that stay active
  for (std::uint32_t start = growing.first; start <= at; ++start) {
    const End& end = store_.ends.at(growing, start);
    if (end.node != kNoNode) {
      advance(store_.ends.id(index, start), token);
      first = end.node != kNoNode ? std::min(first, start) : first;
    }
  }
  growing.first = first;
}

// Fetches where the suffixes will look for their next nodes for all of them at once, rather than one after the other.
void Growth::prefetch_children(const Growing& growing, std::uint32_t last, TokenId token) const {
  for (const bool is_index_there : {false, true}) {
    for (std::uint32_t start = growing.first; start <= last; ++start) {
      const End& end = store_.ends.at(growing, start);
      if (end.node == kNoNode || end.depth != store_.nodes[end.node].depth) {
        continue;
      }
      if (is_index_there) {
        store_.nodes.prefetch_child(end.node, token);
      } else {
        store_.nodes.prefetch_index(end.node, token);
      }
    }
  }
}

void Growth::advance(EndId id, TokenId token) {
  End& end = store_.ends[id];
  Node& node = store_.nodes[end.node];
  if (end.depth == node.depth) {
    leave_node(id, token);
    return;
  }
  if (store_.inner_token(node, end.depth) != token) {
    end.node = end_edge_at(id);
    leave_node(id, token);
    return;
  }
  end.depth = (end.depth + 1U) & kDepthBits;
  if (end.depth == node.depth) {
    store_.ends.unlink(node, id);
    reach_node(id, end.node);
  }
}

void Growth::leave_node(EndId id, TokenId token) {
  End& end = store_.ends[id];
  const NodeId next = store_.nodes.child(end.node, token);
  if (next == kNoNode) {
    add_leaf(end.node, token, store_.ends.sequence(id), end.start);
    end.node = kNoNode;
    return;
  }
  end.depth = (end.depth + 1U) & kDepthBits;
  end.node = next;
  if (end.depth == store_.nodes[next].depth) {
    reach_node(id, next);
  } else {
    store_.ends.link(store_.nodes[next], next, id);
  }
}

void Growth::reach_node(EndId id, NodeId number) {
  End& end = store_.ends[id];
  Node& node = store_.nodes[number];
  ++node.count;
  store_.set_label(node, store_.ends.sequence(id), end.start + end.depth);
  store_.nodes.promote(number);
  end.node = end.depth == store_.depth ? kNoNode : number;
}

void Growth::add_leaf(NodeId parent, TokenId token, SequenceId sequence, std::uint32_t start) {
  const NodeId number = store_.nodes.create();
  Node& leaf = store_.nodes[number];
  leaf.sequence = sequence & (kSequencesMax - 1);
  leaf.depth = store_.depth & kDepthBits;
  leaf.end = start + store_.depth;
  leaf.count = 1;
  store_.texts.add_label(sequence);
  store_.nodes.attach(parent, token, number);
}

NodeId Growth::end_edge_at(EndId id) {
  const End& end = store_.ends[id];
  const NodeId number = end.node;
  if (store_.inner_token(store_.nodes[number], end.depth) == kNoToken) {
    cut_leaf(number, end.depth);  // caught up with the sequence that writes this leaf
    return number;
  }
  return split(number, end.depth, store_.ends.sequence(id), end.start + end.depth);
}

void Growth::cut_leaf(NodeId number, std::uint32_t depth) {
  Node& leaf = store_.nodes[number];
  const std::uint32_t start = leaf.end - leaf.depth;
  leaf.depth = depth & kDepthBits;
  leaf.end = start + depth;
  store_.settle_ends(number, number, depth);
  const std::uint32_t index = store_.texts[leaf.sequence].growing;
  if (index != kNotGrowing) {
    Growing& growing = store_.ends.growing(index);
    store_.ends.at(growing, start) = {number, start & kStartBits, depth & kDepthBits, kNoEnd, kNoEnd};
    growing.first = std::min(growing.first, start);
  }
}

NodeId Growth::split(NodeId lower_number, std::uint32_t depth, SequenceId sequence, std::uint32_t text_end) {
  const NodeId upper_number = store_.nodes.create();
  Node& lower = store_.nodes[lower_number];
  Node& upper = store_.nodes[upper_number];
  upper.sequence = sequence & (kSequencesMax - 1);
  upper.depth = depth & kDepthBits;
  upper.end = text_end;
  store_.texts.add_label(sequence);
  upper.count = lower.count + store_.ends.count_inside(lower, depth + 1);
  store_.nodes.replace(lower_number, upper_number);
  store_.nodes.attach(upper_number, store_.inner_token(lower, depth), lower_number);
  store_.settle_ends(lower_number, upper_number, depth);
  return upper_number;
}

void Growth::finish(SequenceId sequence) {
  const std::uint32_t index = store_.texts[sequence].growing;
  COPPICE_CHECK(index != kNotGrowing, "a sequence ends once");
  const Growing& growing = store_.ends.growing(index);
  for (std::uint32_t start = growing.first; start < store_.texts[sequence].length; ++start) {
    const End& end = store_.ends.at(growing, start);
    if (end.node != kNoNode && end.depth != store_.nodes[end.node].depth) {
      end_edge_at(store_.ends.id(index, start));
    }
  }
  store_.ends.close(index);
  store_.texts.close(sequence);
}

}  // namespace coppice::engine::suffix_tree
