// RadixTree: the prefix cache. Paths of token ids (whole pages of them) under a tenant's root lead to KV pages, which
// the tree holds by reference. A sequence finds its longest cached prefix, then adds its own pages as they are
// computed, so that other sequences find them page by page. Tokens are compared, never only hashes.
//
// How PageKeeper uses it:
//   admission    lock = tree.match(tenant, tokens without the last, table)   // table now holds the shared pages
//   each step    tree.extend(lock, tokens whose KV is computed, table)       // whole pages only
//   on request   tree.keep(lock, pages, account, time)       // that prefix is evicted after all that is not kept
//   leaving      the table's references go, then the lock
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
#include "engine/kept_prefixes.h"
#include "engine/kv_pool.h"
#include "engine/radix_nodes.h"

namespace coppice::engine {

class CacheJournal;  // cache_journal.h
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
  // `journal`, which outlives the tree, hears of every page that comes and goes; null: there is none.
  explicit RadixTree(KvPool& pool, const KeepLimits& keep_limits = {}, CacheJournal* journal = nullptr);
  ~RadixTree();
  RadixTree(const RadixTree&) = delete;
  RadixTree& operator=(const RadixTree&) = delete;

  // Tokens of the longest cached prefix (a multiple of the page size). Changes nothing, not even what is oldest.
  std::int32_t peek(std::string_view tenant, std::span<const TokenId> tokens) const;

  // Finds the longest cached prefix of `tokens`, appends shared references to its pages to `table` and locks its path,
  // which is `table.size() * page_size` long; with no hit the lock is held at the tenant's root, so that extend() works
  // from it. Kept prefixes along the path are kept for their whole time again. REQUIRES: `table` is empty.
  RadixLock match(std::string_view tenant, std::span<const TokenId> tokens, PageTable& table);

  // Adds tokens [lock.token_count(), tokens.size()) after the lock's path, held by pages of `table` from entry
  // lock.token_count() / page_size on, and moves the lock to the new end. Where the tree already has those tokens
  // (another sequence was first), its own page takes the place of the table's: the contents are the same to the bit,
  // and sharers then name the same page. Returns how many entries were replaced. REQUIRES: tokens.size() is a multiple
  // of the page size and at least lock.token_count(); the pages' KV is computed.
  std::int32_t extend(RadixLock& lock, std::span<const TokenId> tokens, PageTable& table);

  // Keeps the first `pages` pages of the lock's path for `time`: evict() takes them after all that is not kept. What is
  // more than the account may keep, or more than its fair share when all together keep too much, is no longer kept: the
  // least recently used of its kept prefixes first, from its end. REQUIRES: 0 < pages, and the path has them; a tenant
  // has one account.
  void keep(const RadixLock& lock, std::int32_t pages, std::string_view account, KeptPrefixes::Duration time);
  // It is `now`: prefixes whose time is over are cached like any other from now on.
  void set_time(KeptPrefixes::TimePoint now);
  const KeptPrefixes& kept() const { return kept_; }

  // Gives back `pages` pages, or all that are not locked if there are fewer: from the end of the least recently used
  // unlocked leaf that is not kept, then of the next; when there are none, likewise of those that are kept. O(log
  // leaves) a leaf, O(1) a page. Returns how many it gave back.
  std::int32_t evict(std::int32_t pages);

  // Pages of unlocked nodes, kept or not: what evict() could free.
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
  RadixPlace place_above(RadixNodeId node, std::int32_t pages) const;
  void lock_path(RadixNodeId from, RadixNodeId above);
  void unlock(RadixNodeId node);
  RadixLeaves& heap_of(RadixNodeId leaf) { return nodes_[leaf].keep_count > 0 ? kept_leaves_ : leaves_; }
  void drop_last_page(RadixNodeId leaf);

  void count_keep(RadixNodeId from, RadixNodeId above, std::int32_t more, RadixNodeId end);
  void forget_kept(RadixNodeId end);
  void shorten_kept(RadixNodeId end, std::int32_t pages);
  void limit_kept(const std::string& account, std::int32_t pages_max);
  void raise_kept(RadixNodeId leaf);

  void check_node(RadixNodeId index) const;
  void check_kept() const;

  KvPool& pool_;
  const KeepLimits keep_limits_;
  CacheJournal* const journal_;
  RadixNodes nodes_;
  RadixLeaves leaves_;       // that are not kept
  RadixLeaves kept_leaves_;  // that are
  KeptPrefixes kept_;
  KeptPrefixes::TimePoint now_{};
  std::int32_t pages_ = 0;
  std::int32_t evictable_pages_ = 0;
  std::uint64_t clock_ = 0;  // counts released locks
  std::unordered_map<std::string, RadixNodeId, TenantHash, std::equal_to<>> roots_;
  std::unordered_map<RadixNodeId, std::string_view> root_names_;  // views of the keys of roots_
};

}  // namespace coppice::engine
