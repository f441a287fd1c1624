// The records that a suffix tree (suffix_tree.h) is made of.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/types.h"

namespace coppice::engine::suffix_tree {

using NodeId = std::uint32_t;
using SequenceId = std::uint32_t;
// An active end: the number of its growing sequence times the size of a ring, plus its index in the ring.
using EndId = std::uint32_t;

inline constexpr NodeId kNoNode = 0;                       // ChildIndex::kNone: index 0 holds no node
inline constexpr NodeId kRoot = 1;                         // the first node made
inline constexpr EndId kNoEnd = 0xFFFFFFFFU;               // ends a list
inline constexpr std::uint32_t kNotGrowing = 0xFFFFFFFFU;  // no index of a Growing
inline constexpr TokenId kNoToken = -1;                    // tokens are not negative
inline constexpr std::int32_t kDepthMax = 255;             // depths take 8 bits of a record
inline constexpr std::uint32_t kSequencesMax = 1U << 24;   // a sequence's number takes 24 bits of a node
inline constexpr std::uint32_t kTokensMax = 1U << 24;      // a suffix's start takes 24 bits of an End

// The node and the edge above it, 36 bytes. The node's whole string is text[end - depth … end) of its sequence. A
// leaf's string runs to the depth limit, and may end beyond the last token that its sequence has written so far.
struct Node {
  NodeId parent = kNoNode;
  NodeId first_child = kNoNode;
  NodeId next = kNoNode;  // siblings
  NodeId previous = kNoNode;
  std::uint32_t sequence : 24 = 0;  // whose text labels the edge
  std::uint32_t depth : 8 = 0;
  std::uint32_t end = 0;
  std::uint32_t count = 0;    // suffixes that have reached the node
  TokenId token = kNoToken;   // first of the edge
  EndId inner_ends = kNoEnd;  // active ends inside the edge
};

// The end of one suffix of a growing sequence, active while other suffixes run through it too.
struct End {
  NodeId node = kNoNode;  // kNoNode: not active: on a leaf of its own, or at the depth limit
  std::uint32_t start : 24 = 0;
  std::uint32_t depth : 8 = 0;
  EndId next = kNoEnd;  // of the same edge; only while inside one
  EndId previous = kNoEnd;
};

// The ends of a growing sequence, by start modulo the size of the ring.
struct Growing {
  SequenceId sequence = 0;
  std::uint32_t first = 0;  // no suffix that starts before is active
  std::unique_ptr<End[]> ring;
};

struct Sequence {
  std::shared_ptr<std::vector<TokenId>> text;  // shared with snapshots once the sequence grows no more
  const TokenId* tokens = nullptr;             // of `text`
  std::uint32_t length = 0;                    // tokens entered
  std::uint32_t labels = 0;                    // nodes whose edge this text labels
  std::uint32_t growing = kNotGrowing;
  std::uint32_t removed = 0;  // suffixes taken out
  std::uint32_t birth = 0;    // ordinal among all sequences begun
  bool is_gone = false;       // taken out, kept for the edges that its text labels
};

}  // namespace coppice::engine::suffix_tree
