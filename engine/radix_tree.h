// RadixTree: the prefix cache. Paths of token ids (whole pages of them) under a tenant's root lead to KV pages, which
// the tree holds by reference. A sequence finds its longest cached prefix, then adds its own pages as they are
// computed, so that other sequences find them page by page. Tokens are compared, never only hashes.
//
// How PageKeeper uses it:
//   admission    lock = tree.match(tenant, tokens without the last, table)   // table now holds the shared pages
//   each step    tree.extend(lock, tokens whose KV is computed, table)       // whole pages only
//   leaving      the table's references go, then the lock
//   pool empty   tree.evict(n)
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
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

  // Follows whole pages of `tokens` down from the end of `node`, calling visit(page) for each; stops where the tree
  // ends or differs.
  template <typename Visit>
  RadixPlace descend(RadixNodeId node, std::span<const TokenId> tokens, Visit visit) const;
  // Cuts an edge after `page_count` pages. The node keeps its index for the deeper half, so locks on it stay true; the
  // new node, its parent from now on, takes the upper half and counts every lock that goes through it.
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
  bool same_tokens(PageId page, const TokenId* tokens) const;

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

// The unlocked leaves, least recently used first: a binary heap by RadixNode::last_use; each node knows its position in
// it. Owner: a RadixTree. Thread: the engine's.
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

class RadixTree;

// A reader's hold on one path of the tree: nothing on the path is evicted while it lives. Move-only. Thread: the
// engine's. Owner: a PageHold. Invariant radix.locked: a sequence that has pages in common with the tree holds a lock
// whose path covers them, so a page of an unlocked node is held by the tree alone.
class RadixLock {
 public:
  RadixLock() = default;
  RadixLock(RadixLock&& other) noexcept
      : tree_(std::exchange(other.tree_, nullptr)), node_(other.node_), token_count_(other.token_count_) {}
  RadixLock& operator=(RadixLock&& other) noexcept {
    if (this != &other) {
      release();
      tree_ = std::exchange(other.tree_, nullptr);
      node_ = other.node_;
      token_count_ = other.token_count_;
    }
    return *this;
  }
  RadixLock(const RadixLock&) = delete;
  RadixLock& operator=(const RadixLock&) = delete;
  ~RadixLock() { release(); }

  bool held() const { return tree_ != nullptr; }
  // Where the locked path ends; kNoRadixNode when nothing is held.
  RadixNodeId node() const { return tree_ == nullptr ? kNoRadixNode : node_; }
  // Length of the locked path; a multiple of the page size.
  std::int32_t token_count() const { return tree_ == nullptr ? 0 : token_count_; }
  void release();

 private:
  friend class RadixTree;
  RadixLock(RadixTree* tree, RadixNodeId node, std::int32_t token_count)
      : tree_(tree), node_(node), token_count_(token_count) {}

  RadixTree* tree_ = nullptr;
  RadixNodeId node_ = 0;  // where the path ends (a node's end; splits keep the index at the deeper half)
  std::int32_t token_count_ = 0;
};

// Owner: PageKeeper; destroyed before the pool, after every lock. Thread: the engine's. Memory for nodes and pages is
// reserved at start; only a tenant's name is allocated later. A tenant's root exists while it has nodes or locks.
class RadixTree {
 public:
  explicit RadixTree(KvPool& pool);
  ~RadixTree();
  RadixTree(const RadixTree&) = delete;
  RadixTree& operator=(const RadixTree&) = delete;

  // Tokens of the longest cached prefix (a multiple of the page size). Changes nothing, not even what is oldest.
  std::int32_t peek(std::string_view tenant, std::span<const TokenId> tokens) const;

  // Finds the longest cached prefix of `tokens`, appends shared references to its pages to `table` and locks its path,
  // which is `table.size() * page_size` long; with no hit the lock is held at the tenant's root, so that extend() works
  // from it. REQUIRES: `table` is empty.
  RadixLock match(std::string_view tenant, std::span<const TokenId> tokens, PageTable& table);

  // Adds tokens [lock.token_count(), tokens.size()) after the lock's path, held by pages of `table` from entry
  // lock.token_count() / page_size on, and moves the lock to the new end. Where the tree already has those tokens
  // (another sequence was first), its own page takes the place of the table's: the contents are the same to the bit,
  // and sharers then name the same page. Returns how many entries were replaced. REQUIRES: tokens.size() is a multiple
  // of the page size and at least lock.token_count(); the pages' KV is computed.
  std::int32_t extend(RadixLock& lock, std::span<const TokenId> tokens, PageTable& table);

  // Gives back `pages` pages, or all that are not locked if there are fewer: from the end of the least recently used
  // unlocked leaf, then of the next. O(log leaves) a leaf, O(1) a page. Returns how many it gave back.
  std::int32_t evict(std::int32_t pages);

  // Pages of unlocked nodes: what evict() could free.
  std::int32_t evictable_pages() const { return evictable_pages_; }
  // All pages that the tree holds.
  std::int32_t pages() const { return pages_; }
  // For looking at: the nodes, and whose a root is. REQUIRES: the node is a live root.
  const RadixNodes& nodes() const { return nodes_; }
  std::string_view tenant_of(RadixNodeId root) const { return root_names_.at(root); }
  // Appends every page the tree holds, each once: for PageKeeper::check_integrity().
  void append_pages(std::vector<PageId>& pages) const;
  // COPPICE_CHECKs the tree's own invariants.
  void check_integrity() const;

 private:
  friend class RadixLock;

  struct TenantHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  RadixNodeId root_of(std::string_view tenant);
  void drop_root(RadixNodeId root);
  RadixNodeId node_at(RadixPlace place);
  void lock_path(RadixNodeId from, RadixNodeId above);
  void unlock(RadixNodeId node);
  void drop_last_page(RadixNodeId leaf);
  void check_node(RadixNodeId index) const;

  KvPool& pool_;
  RadixNodes nodes_;
  RadixLeaves leaves_;
  std::int32_t pages_ = 0;
  std::int32_t evictable_pages_ = 0;
  std::uint64_t clock_ = 0;  // counts released locks
  std::unordered_map<std::string, RadixNodeId, TenantHash, std::equal_to<>> roots_;
  std::unordered_map<RadixNodeId, std::string_view> root_names_;  // views of the keys of roots_
};

}  // namespace coppice::engine
