// RadixNodes and RadixLeaves: the shape of the prefix cache, and the order in which its unlocked leaves are evicted.
// What it is for stands in radix_tree.h, whose class alone uses them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/types.h"
#include "engine/kv_pool.h"

namespace coppice::engine {

using RadixNodeId = std::uint32_t;
inline constexpr RadixNodeId kNoRadixNode = 0xffffffffU;  // names no node: the largest index

// A node and the edge that leads to it. The edge's tokens are those of its pages, first_page to last_page along next().
struct RadixNode {
  RadixNodeId parent = kNoRadixNode;  // kNoRadixNode: a tenant's root (which has no pages), or a free entry
  PageId first_page = kNoPage;
  PageId last_page = kNoPage;
  std::int32_t page_count = 0;
  std::int32_t child_count = 0;
  std::int32_t lock_count = 0;                 // locks whose path goes through or ends here
  std::int32_t keep_count = 0;                 // kept prefixes whose path goes through or ends here
  RadixNodeId bucket_next = kNoRadixNode;      // the next of its look-up chain; of a free entry: the next free one
  std::uint32_t heap_position = kNoRadixNode;  // in RadixLeaves, when an unlocked leaf
  std::uint64_t last_use = 0;
  std::uint32_t hits = 0;  // matches that found the node's pages; for the console
  bool live = false;

  bool is_root() const { return parent == kNoRadixNode; }
};

// Where a walk along known tokens ended: at the end of `node`, or `page_count` pages into its edge.
struct RadixPlace {
  RadixNodeId node = kNoRadixNode;
  std::int32_t page_count = 0;
};

// The tree's shape: nodes, the pages on the edges that lead to them, and a child's look-up. Owner: a RadixTree. Thread:
// the engine's. What a page has (its tokens, its neighbours on the edge, the tree's
// reference) lies in arrays indexed by page id, and a node has at least one page, so all memory is reserved at start.
class RadixNodes {
 public:
  explicit RadixNodes(KvPool& pool);

  RadixNode& operator[](RadixNodeId node) { return nodes_[node]; }
  const RadixNode& operator[](RadixNodeId node) const { return nodes_[node]; }
  RadixNodeId count() const { return static_cast<RadixNodeId>(nodes_.size()); }

  // A live node without pages, children and parent.
  RadixNodeId add();
  void free(RadixNodeId node);

  // Enters the node under its parent and first page, or takes it out: before either of those changes.
  void link_child(RadixNodeId node);
  void unlink_child(RadixNodeId node);
  // The child whose edge begins with the page of tokens at `tokens`; kNoRadixNode when there is none.
  RadixNodeId find_child(RadixNodeId parent, const TokenId* tokens) const;

  // The root that the node hangs on.
  RadixNodeId root_above(RadixNodeId node) const {
    while (!nodes_[node].is_root()) {
      node = nodes_[node].parent;
    }
    return node;
  }

  // Follows whole pages of `tokens` down from the end of `node`, calling visit(page) for each; stops where the tree
  // ends or differs.
  template <typename Visit>
  RadixPlace descend(RadixNodeId node, std::span<const TokenId> tokens, Visit visit) const;
  // Cuts an edge after `page_count` pages. The node keeps its index for the deeper half, so what ends at it stays true;
  // the new node, its parent from now on, takes the upper half and counts every lock and kept prefix that goes through
  // it.
  void split(RadixNodeId node, std::int32_t page_count);
  // Appends the page, with one reference, to the node's edge.
  void append_page(RadixNodeId node, PageId page, const TokenId* tokens);
  // Takes the last page off the node's edge and gives up its reference. REQUIRES: the node has one, and is not in the
  // look-up if it is the only one.
  void drop_last_page(RadixNodeId node);

  std::int32_t page_size() const { return static_cast<std::int32_t>(page_size_); }
  std::span<const TokenId> tokens_of(PageId page) const {
    return {page_tokens_.data() + static_cast<std::size_t>(page) * page_size_, page_size_};
  }
  // The page after `page` on its edge; kNoPage at its end.
  PageId next(PageId page) const { return next_[static_cast<std::size_t>(page)]; }
  // COPPICE_CHECKs that the node's edge has the pages it says.
  void check_edge(RadixNodeId node) const;

 private:
  std::size_t bucket_of(RadixNodeId parent, const TokenId* tokens) const;
  bool same_tokens(PageId page, const TokenId* tokens) const {
    return std::memcmp(tokens_of(page).data(), tokens, page_size_ * sizeof(TokenId)) == 0;
  }

  KvPool& pool_;
  const std::size_t page_size_;
  std::vector<TokenId> page_tokens_;  // [pool pages * page_size]
  std::vector<PageId> next_;          // [pool pages] along an edge
  std::vector<PageId> previous_;      // [pool pages]
  std::vector<PageRef> references_;   // [pool pages] the tree's own
  std::vector<RadixNode> nodes_;
  RadixNodeId free_node_ = kNoRadixNode;
  std::vector<RadixNodeId> buckets_;  // look-up (parent, first page's tokens) -> node; a power of two
};

template <typename Visit>
RadixPlace RadixNodes::descend(RadixNodeId node, std::span<const TokenId> tokens, Visit visit) const {
  RadixPlace place{node, nodes_[node].page_count};
  const std::size_t whole = tokens.size() / page_size_;
  std::size_t index = 0;
  while (index < whole) {
    const RadixNodeId child = find_child(place.node, tokens.data() + index * page_size_);
    if (child == kNoRadixNode) {
      return place;
    }
    place = {child, 0};
    for (PageId page = nodes_[child].first_page; page != kNoPage; page = next(page)) {
      if (index == whole || !same_tokens(page, tokens.data() + index * page_size_)) {
        return place;
      }
      visit(page);
      ++place.page_count;
      ++index;
    }
  }
  return place;
}

// Unlocked leaves, least recently used first: a binary heap by RadixNode::last_use; each node knows its position in it,
// and is in one heap at most. Owner: a RadixTree. Thread: the engine's.
class RadixLeaves {
 public:
  RadixLeaves(RadixNodes& nodes, std::int32_t leaves_max) : nodes_(nodes) {
    heap_.reserve(static_cast<std::size_t>(leaves_max) + 1);
  }

  bool empty() const { return heap_.empty(); }
  // The least recently used. REQUIRES: !empty().
  RadixNodeId front() const { return heap_.front(); }
  void push(RadixNodeId node);
  // REQUIRES: the node is in the heap.
  void remove(RadixNodeId node);
  // COPPICE_CHECKs that the node is where it says and the heap in order there.
  void check_position(RadixNodeId node) const;

 private:
  void settle(std::size_t position);
  bool older(RadixNodeId left, RadixNodeId right) const { return nodes_[left].last_use < nodes_[right].last_use; }

  RadixNodes& nodes_;
  std::vector<RadixNodeId> heap_;
};

}  // namespace coppice::engine
