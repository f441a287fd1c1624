// RadixTree: the prefix cache. Paths of token ids (whole pages of them) under a tenant's root lead to KV pages, which
// the tree holds by reference. A sequence finds its longest cached prefix, then adds its own pages as they are
// computed, so that others see them page by page. Tokens are compared, never only hashes.
//
// The engine's use of it (scheduler.cc):
//   admission    lock = tree.match(tenant, tokens without the last, table)   // table now holds the shared pages
//   each commit  tree.extend(lock, tokens whose KV is computed, table)       // whole pages only
//   fork         lock2 = tree.share(lock)
//   leaving      lock destroyed; then the table's references
//   pool empty   tree.evict(n)
#pragma once

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

class RadixTree;

// A reader's hold on one path of the tree: nothing on the path is evicted while it lives. Move-only. Thread: the
// engine's. Owner: a Sequence. Invariant radix.locked: a sequence that has pages in common with the tree holds a lock
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
  // Length of the locked path; a multiple of the page size.
  std::int32_t token_count() const { return tree_ == nullptr ? 0 : token_count_; }
  void release();

 private:
  friend class RadixTree;
  RadixLock(RadixTree* tree, std::uint32_t node, std::int32_t token_count)
      : tree_(tree), node_(node), token_count_(token_count) {}

  RadixTree* tree_ = nullptr;
  std::uint32_t node_ = 0;  // where the path ends (a node's end; splits keep the index at the deeper half)
  std::int32_t token_count_ = 0;
};

// Owner: the scheduler; destroyed before the pool, after every lock. Thread: the engine's. What a page holds (its
// tokens, its neighbours on the edge, the tree's reference) lies in arrays indexed by page id, and a node has at least
// one page, so the memory for nodes and pages is reserved at start; only a tenant's name is allocated later. A tenant's
// root exists while it has nodes or locks.
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

  // A second hold on the same path.
  RadixLock share(const RadixLock& lock);

  // Gives back `pages` pages, or all that are not locked if there are fewer: from the end of the least recently used
  // unlocked leaf, then of the next. O(log leaves) a leaf, O(1) a page. Returns how many went.
  std::int32_t evict(std::int32_t pages);

  // Pages of unlocked nodes: what evict() could free.
  std::int32_t evictable_pages() const { return evictable_pages_; }
  // All pages that the tree holds.
  std::int32_t pages() const { return pages_; }
  // Appends every page the tree holds, each once: for the engine's check_integrity().
  void append_pages(std::vector<PageId>& pages) const;
  // COPPICE_CHECKs the tree's own invariants.
  void check_integrity() const;

 private:
  friend class RadixLock;

  static constexpr std::uint32_t kNone = 0xffffffffU;

  // An edge and the node at its end. The edge's tokens are those of its pages, first_page … last_page along next_.
  struct Node {
    std::uint32_t parent = kNone;  // kNone: a tenant's root (which has no pages), or a free entry
    PageId first_page = kNoPage;
    PageId last_page = kNoPage;
    std::int32_t page_count = 0;
    std::int32_t child_count = 0;
    std::int32_t lock_count = 0;          // locks whose path goes through or ends here
    std::uint32_t bucket_next = kNone;    // chain of the child table; of free entries when unused
    std::uint32_t heap_position = kNone;  // in heap_, when an unlocked leaf
    std::uint64_t last_use = 0;
    bool live = false;
  };
  // Where a walk along known tokens ended: at the end of `node`, or `page_count` pages into its edge.
  struct Place {
    std::uint32_t node = kNone;
    std::int32_t page_count = 0;
  };
  struct TenantHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  Node& at(std::uint32_t node) { return nodes_[node]; }
  const Node& at(std::uint32_t node) const { return nodes_[node]; }
  std::span<const TokenId> tokens_of(PageId page) const;
  bool same_tokens(PageId page, const TokenId* tokens) const;
  std::size_t bucket_of(std::uint32_t parent, const TokenId* tokens) const;
  std::uint32_t find_child(std::uint32_t parent, const TokenId* tokens) const;
  void link_child(std::uint32_t node);
  void unlink_child(std::uint32_t node);
  std::uint32_t new_node();
  void free_node(std::uint32_t node);
  std::uint32_t root_of(std::string_view tenant);
  void drop_root(std::uint32_t root);

  template <typename Visit>
  Place descend(std::uint32_t node, std::span<const TokenId> tokens, Visit visit) const;
  void split(std::uint32_t node, std::int32_t page_count);
  void append_page(std::uint32_t node, PageId page, const TokenId* tokens);
  void lock_path(std::uint32_t from, std::uint32_t above);
  void unlock(std::uint32_t node);
  void drop_last_page(std::uint32_t leaf);
  void check_node(std::uint32_t index) const;

  void heap_push(std::uint32_t node);
  void heap_remove(std::uint32_t node);
  void heap_settle(std::size_t position);
  bool older(std::uint32_t left, std::uint32_t right) const { return at(left).last_use < at(right).last_use; }

  KvPool& pool_;
  const std::size_t page_size_;
  std::int32_t pages_ = 0;
  std::int32_t evictable_pages_ = 0;
  std::uint64_t clock_ = 0;           // one tick a release
  std::vector<TokenId> page_tokens_;  // [pool pages * page_size]
  std::vector<PageId> next_;          // [pool pages] along an edge
  std::vector<PageId> previous_;
  std::vector<PageRef> references_;  // [pool pages] the tree's own
  std::vector<Node> nodes_;
  std::uint32_t free_node_ = kNone;
  std::vector<std::uint32_t> buckets_;  // child table: (parent, first page's tokens) -> node; a power of two
  std::vector<std::uint32_t> heap_;     // unlocked leaves, least recently used first
  std::unordered_map<std::string, std::uint32_t, TenantHash, std::equal_to<>> roots_;
  std::unordered_map<std::uint32_t, std::string_view> root_names_;  // views of the keys of roots_
};

}  // namespace coppice::engine
