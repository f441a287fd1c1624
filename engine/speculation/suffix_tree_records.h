// What a suffix tree (suffix_tree.h) is made of: nodes, ends of growing sequences, sequences.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/types.h"

namespace coppice::engine::suffix_tree {

using NodeId = std::uint32_t;
using SequenceId = std::uint32_t;
inline constexpr NodeId kNoNode = 0;
inline constexpr std::uint32_t kNoRider = 0xFFFFFFFFU;
inline constexpr std::uint32_t kNotLive = 0xFFFFFFFFU;
inline constexpr TokenId kNoToken = -1;

// 36 bytes. The node's whole string is text[end - depth ... end) of its sequence; a leaf's runs to the depth limit
// and may end beyond its sequence's last token, where the sequence is yet to write it.
struct Node {
  NodeId parent = kNoNode;
  NodeId first_child = kNoNode;
  NodeId next = kNoNode;  // siblings
  NodeId previous = kNoNode;
  std::uint32_t sequence : 24 = 0;
  std::uint32_t depth : 8 = 0;
  std::uint32_t end = 0;
  std::uint32_t count = 0;
  TokenId token = kNoToken;         // first of the edge
  std::uint32_t riders = kNoRider;  // actives that end inside the edge
};
// Where a suffix of a growing sequence ends, when that is a place others have too.
struct Active {
  NodeId node = kNoNode;  // kNoNode: a leaf of its own, or at the depth limit
  std::uint32_t start : 24 = 0;
  std::uint32_t depth : 8 = 0;
  std::uint32_t next = kNoRider;  // riders of the same edge; only while inside one
  std::uint32_t previous = kNoRider;
};
struct Live {
  SequenceId sequence = 0;
  std::uint32_t first = 0;  // no suffix that starts before is active
  std::unique_ptr<Active[]> ring;
};
struct Sequence {
  std::shared_ptr<std::vector<TokenId>> text;  // shared with snapshots once the sequence grows no more
  const TokenId* tokens = nullptr;             // of it
  std::uint32_t length = 0;                    // entered
  std::uint32_t labels = 0;                    // nodes whose text this is
  std::uint32_t live = kNotLive;
  std::uint32_t removed = 0;  // suffixes taken out
  std::uint32_t birth = 0;
  bool is_gone = false;  // taken out, kept for the nodes whose text it is
};

}  // namespace coppice::engine::suffix_tree
