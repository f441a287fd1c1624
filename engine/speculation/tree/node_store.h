// NodeStore: the nodes of a suffix tree. Parents, children by token, siblings likeliest first; what the strings are is
// not known here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/types.h"
#include "engine/speculation/tree/child_index.h"

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

// An array that grows a chunk at a time, so that growth never copies what is there already and references stay valid.
// For pools of millions of records whose growth must not stall the engine's thread. Owner and thread: one, the same. T
// must be default-constructible.
template <typename T, std::uint32_t kChunkBits>
class ChunkedArray {
 public:
  static constexpr std::uint32_t kChunk = 1U << kChunkBits;  // elements allocated at a time

  T& operator[](std::uint32_t i) { return chunks_[i >> kChunkBits][i & (kChunk - 1)]; }
  const T& operator[](std::uint32_t i) const { return chunks_[i >> kChunkBits][i & (kChunk - 1)]; }

  // Index of one more element, default-constructed.
  std::uint32_t extend() {
    if (size_ == chunks_.size() * kChunk) {
      chunks_.push_back(std::make_unique<T[]>(kChunk));
    }
    return size_++;
  }
  std::uint32_t size() const { return size_; }
  std::size_t bytes() const { return chunks_.size() * (kChunk * sizeof(T) + sizeof(chunks_[0])); }
  // Frees the last chunk and its elements. Returns true while there is more to free.
  bool shrink() {
    if (!chunks_.empty()) {
      chunks_.pop_back();
      size_ = static_cast<std::uint32_t>(chunks_.size()) * kChunk;
    }
    return !chunks_.empty();
  }

 private:
  std::vector<std::unique_ptr<T[]>> chunks_;
  std::uint32_t size_ = 0;
};

// Owner and thread: one, the same. References to nodes stay valid while nodes are added.
class NodeStore {
 public:
  // Makes the root.
  NodeStore();

  Node& operator[](NodeId node) { return nodes_[node]; }
  const Node& operator[](NodeId node) const { return nodes_[node]; }

  // The child of a node by the first token of its edge, or kNoNode.
  NodeId child(NodeId parent, TokenId token) const {
    return index_.find(ChildIndex::hash(parent, token),
                       [&](NodeId node) { return nodes_[node].parent == parent && nodes_[node].token == token; });
  }
  // For many child() calls at once: first the index is prefetched for all of them, then the nodes that it names.
  void prefetch_index(NodeId parent, TokenId token) const { index_.prefetch(ChildIndex::hash(parent, token)); }
  void prefetch_child(NodeId parent, TokenId token) const {
    if (const NodeId child = index_.first(ChildIndex::hash(parent, token)); child != kNoNode) {
      __builtin_prefetch(&nodes_[child]);
    }
  }

  // A node on its own, all fields as by default.
  NodeId create();
  // REQUIRES: the node is detached, or another has replaced it.
  void destroy(NodeId node);
  // Hangs a node below `parent`, behind the first child, so that the likeliest stays first.
  void attach(NodeId parent, TokenId token, NodeId node);
  // Takes a node from its parent. Its own fields stay as they are.
  void detach(NodeId node);
  // Hangs `node` where `of` hangs: parent, first token, siblings.
  void replace(NodeId of, NodeId node);
  // Keeps siblings about in order of their counts at little cost: every few counts a node overtakes the one before it.
  void promote(NodeId number) {
    const Node& node = nodes_[number];
    if (node.previous != kNoNode && node.count % kPromoteEvery == kPromoteAt) {
      overtake(number);
    }
  }

  // Nodes in use, the root included.
  std::size_t size() const { return nodes_.size() - 1 - free_count_; }
  std::size_t indexed() const { return index_.size(); }
  std::size_t bytes() const { return nodes_.bytes() - free_count_ * sizeof(Node) + index_.bytes(); }
  // Frees some nodes of a tree that is not used any more. True while there are more.
  bool shrink() { return nodes_.shrink(); }

 private:
  static constexpr std::uint32_t kChunkBits = 8;  // 256 nodes at a time, 9 KB
  // A node is promoted when its count is 2, 6, 10, …: each time costs a look at two siblings.
  static constexpr std::uint32_t kPromoteEvery = 4;
  static constexpr std::uint32_t kPromoteAt = 2;

  // Moves a node to the front of its siblings, or else before its neighbour, if its count is larger.
  void overtake(NodeId node);
  void unlink(NodeId node);

  ChunkedArray<Node, kChunkBits> nodes_;
  ChildIndex index_;
  NodeId free_ = kNoNode;  // a list through `next`
  std::size_t free_count_ = 0;
};

}  // namespace coppice::engine::suffix_tree
