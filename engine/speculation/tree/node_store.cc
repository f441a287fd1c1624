// Linking the nodes of a suffix tree.
#include "engine/speculation/tree/node_store.h"

namespace coppice::engine::suffix_tree {

NodeStore::NodeStore() {
  nodes_.extend();  // kNoNode
  nodes_.extend();  // kRoot
}

NodeId NodeStore::create() {
  if (free_ == kNoNode) {
    return nodes_.extend();
  }
  const NodeId number = free_;
  free_ = nodes_[number].next;
  --free_count_;
  nodes_[number] = Node{};
  return number;
}

void NodeStore::destroy(NodeId number) {
  nodes_[number] = Node{};
  nodes_[number].next = free_;
  free_ = number;
  ++free_count_;
}

void NodeStore::attach(NodeId parent_number, TokenId token, NodeId number) {
  Node& parent = nodes_[parent_number];
  Node& node = nodes_[number];
  node.parent = parent_number;
  node.token = token;
  node.previous = kNoNode;
  node.next = kNoNode;
  if (parent.first_child == kNoNode) {
    parent.first_child = number;
  } else {
    Node& first = nodes_[parent.first_child];
    node.previous = parent.first_child;
    node.next = first.next;
    if (first.next != kNoNode) {
      nodes_[first.next].previous = number;
    }
    first.next = number;
  }
  index_.insert(ChildIndex::hash(parent_number, token), number);
}

void NodeStore::detach(NodeId number) {
  unlink(number);
  index_.erase(ChildIndex::hash(nodes_[number].parent, nodes_[number].token), number);
}

void NodeStore::unlink(NodeId number) {
  const Node& node = nodes_[number];
  (node.previous != kNoNode ? nodes_[node.previous].next : nodes_[node.parent].first_child) = node.next;
  if (node.next != kNoNode) {
    nodes_[node.next].previous = node.previous;
  }
}

void NodeStore::replace(NodeId of, NodeId number) {
  Node& node = nodes_[number];
  const Node& old = nodes_[of];
  node.parent = old.parent;
  node.token = old.token;
  node.next = old.next;
  node.previous = old.previous;
  if (old.next != kNoNode) {
    nodes_[old.next].previous = number;
  }
  (old.previous != kNoNode ? nodes_[old.previous].next : nodes_[old.parent].first_child) = number;
  index_.replace(ChildIndex::hash(old.parent, old.token), of, number);
}

void NodeStore::overtake(NodeId number) {
  Node& node = nodes_[number];
  NodeId before = nodes_[node.parent].first_child;
  if (nodes_[before].count >= node.count) {
    before = node.previous;
    if (nodes_[before].count >= node.count) {
      return;
    }
  }
  unlink(number);
  Node& second = nodes_[before];
  node.next = before;
  node.previous = second.previous;
  (second.previous != kNoNode ? nodes_[second.previous].next : nodes_[node.parent].first_child) = number;
  second.previous = number;
}

}  // namespace coppice::engine::suffix_tree
