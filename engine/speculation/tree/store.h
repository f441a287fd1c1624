// Store: everything that a suffix tree holds, and what takes more than one part of it. Growth and removal work on it,
// SuffixTree answers from it.
#pragma once

#include <cstdint>

#include "engine/speculation/tree/active_ends.h"
#include "engine/speculation/tree/node_store.h"
#include "engine/speculation/tree/records.h"
#include "engine/speculation/tree/text_store.h"

namespace coppice::engine::suffix_tree {

// Owner and thread: one, the same.
struct Store {
  explicit Store(std::uint32_t depth_max) : depth(depth_max), ends(depth_max) {}

  const std::uint32_t depth;  // longest substring that is kept
  TextStore texts;
  NodeStore nodes;
  ActiveEnds ends;

  // The token after `at` tokens of a node's string; kNoToken where the text has not been written yet.
  TokenId inner_token(const Node& node, std::uint32_t at) const {
    const Sequence& sequence = texts[node.sequence];
    const std::uint32_t position = node.end - node.depth + at;
    return position < sequence.length ? sequence.tokens[position] : kNoToken;
  }

  // The node's string ends at text[end) of `sequence` from now on.
  void set_label(Node& node, SequenceId sequence, std::uint32_t end) {
    if (node.sequence != sequence) {
      texts.drop_label(node.sequence);
      texts.add_label(sequence);
      node.sequence = sequence & (kSequencesMax - 1);
    }
    node.end = end;
  }

  // The edge above `to` now ends at `depth`: of the ends inside the edge above `from`, those at that depth reach `to`,
  // those before it move to the edge above `to`.
  void settle_ends(NodeId from, NodeId to, std::uint32_t at);
};

}  // namespace coppice::engine::suffix_tree
