// NodeStore: the nodes of a suffix tree. Parents, children by token, siblings likeliest first; what the strings are is
// not known here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/types.h"
#include "engine/speculation/tree/child_index.h"
#include "engine/speculation/tree/chunked_array.h"
#include "engine/speculation/tree/records.h"

namespace coppice::engine::suffix_tree {

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
