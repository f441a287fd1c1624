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
#include <span>
#include <string_view>
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

// Owner: the scheduler; destroyed before the pool, after every lock. Thread: the engine's. All memory is reserved at
// start: at most one node a page of the pool.
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

  // Drops least recently used unlocked leaves until `pages` pages went back to the pool or no unlocked leaf is left.
  // Returns how many went.
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
  void unlock(std::uint32_t node);

  KvPool& pool_;
  std::int32_t pages_ = 0;
  std::int32_t evictable_pages_ = 0;
};

}  // namespace coppice::engine
