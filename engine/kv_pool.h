// KvPool: which pages of KV memory are held, and how often. The memory itself is the executor's; here are only ids and
// reference counts. Capacity is fixed at start: taking and giving back a page allocates nothing.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/types.h"
#include "kernels/key_positions.h"

namespace coppice::engine {

class KvPool;

// One reference to one page. Move-only; giving it up frees the page when it was the last. Thread: the engine's.
class PageRef {
 public:
  PageRef() = default;
  PageRef(PageRef&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)), page_(std::exchange(other.page_, kNoPage)) {}
  PageRef& operator=(PageRef&& other) noexcept {
    if (this != &other) {
      reset();
      pool_ = std::exchange(other.pool_, nullptr);
      page_ = std::exchange(other.page_, kNoPage);
    }
    return *this;
  }
  PageRef(const PageRef&) = delete;
  PageRef& operator=(const PageRef&) = delete;
  ~PageRef() { reset(); }

  bool held() const { return pool_ != nullptr; }
  PageId id() const { return page_; }
  inline void reset();

 private:
  friend class KvPool;
  friend class PageTable;
  PageRef(KvPool* pool, PageId page) : pool_(pool), page_(page) {}

  KvPool* pool_ = nullptr;
  PageId page_ = kNoPage;
};

// Owner: PageKeeper; outlives every PageRef and PageTable. Thread: the engine's.
// Invariant pool.counts: references(p) = number of PageRefs and PageTable entries that name p; p is on the free list if
// and only if that is 0.
class KvPool {
 public:
  KvPool(std::int32_t pages, std::int32_t page_size);
  KvPool(const KvPool&) = delete;
  KvPool& operator=(const KvPool&) = delete;

  // An empty reference when no page is free.
  PageRef allocate();
  // One more reference. REQUIRES: `page` is held.
  PageRef share(PageId page);

  std::int32_t references(PageId page) const { return references_[static_cast<std::size_t>(page)]; }
  std::int32_t pages() const { return static_cast<std::int32_t>(references_.size()); }
  std::int32_t free_pages() const { return static_cast<std::int32_t>(free_.size()); }
  std::int32_t page_size() const { return page_size_; }
  // Pages that hold `tokens` positions.
  std::int32_t pages_for(std::int64_t tokens) const {
    return static_cast<std::int32_t>((tokens + page_size_ - 1) / page_size_);
  }

 private:
  friend class PageRef;
  friend class PageTable;
  void release(PageId page);

  const std::int32_t page_size_;
  std::vector<std::int32_t> references_;
  std::vector<PageId> free_;  // last in, first out: a page just given back is warm
};

inline void PageRef::reset() {
  if (pool_ != nullptr) {
    pool_->release(page_);
    pool_ = nullptr;
    page_ = kNoPage;
  }
}

// The pages of one sequence in order of position: entry i holds positions [i * page_size, (i + 1) * page_size). Each
// entry is one reference. A vector of ids rather than of PageRefs, so that ids() goes to the attention planner as it
// is. Owner: a PageHold, a pin. Thread: the engine's.
class PageTable {
 public:
  PageTable() = default;
  explicit PageTable(KvPool& pool) : pool_(&pool) {}
  PageTable(PageTable&& other) noexcept : pool_(other.pool_), ids_(std::move(other.ids_)) { other.ids_.clear(); }
  PageTable& operator=(PageTable&& other) noexcept {
    if (this != &other) {
      truncate(0);
      pool_ = other.pool_;
      ids_.swap(other.ids_);
    }
    return *this;
  }
  PageTable(const PageTable&) = delete;
  PageTable& operator=(const PageTable&) = delete;
  ~PageTable() { truncate(0); }

  std::span<const PageId> ids() const { return ids_; }
  std::int32_t size() const { return static_cast<std::int32_t>(ids_.size()); }
  bool empty() const { return ids_.empty(); }
  PageId operator[](std::int32_t index) const { return ids_[static_cast<std::size_t>(index)]; }
  // Where K and V of a position stand. REQUIRES: the table covers it.
  KvSlot slot_of(std::int32_t position, std::int32_t page_size) const {
    return kernels::kv_slot(ids_, page_size, position);
  }

  // REQUIRES: `page` is held and of this table's pool.
  void append(PageRef page);
  // Puts `page` in place of entry `index`, whose reference is given up.
  void replace(std::int32_t index, PageRef page);
  // Gives up the entries from `count` on.
  void truncate(std::int32_t count);

 private:
  KvPool* pool_ = nullptr;
  std::vector<PageId> ids_;
};

}  // namespace coppice::engine
