// Reference counts and the free list of KV pages.
#include "engine/kv_pool.h"

#include <numeric>

namespace coppice::engine {

KvPool::KvPool(std::int32_t pages, std::int32_t page_size)
    : page_size_(page_size), references_(static_cast<std::size_t>(pages), 0), free_(static_cast<std::size_t>(pages)) {
  COPPICE_CHECK(pages > 0 && page_size > 0, "a pool needs pages");
  std::iota(free_.rbegin(), free_.rend(), PageId{0});  // page 0 is handed out first
}

PageRef KvPool::allocate() {
  if (free_.empty()) {
    return {};
  }
  const PageId page = free_.back();
  free_.pop_back();
  std::int32_t& count = references_[static_cast<std::size_t>(page)];
  COPPICE_CHECK(count == 0, "a page on the free list is held");
  count = 1;
  return {this, page};
}

PageRef KvPool::share(PageId page) {
  COPPICE_CHECK(page >= 0 && page < pages(), "no such page");
  std::int32_t& count = references_[static_cast<std::size_t>(page)];
  COPPICE_CHECK(count > 0, "only a held page can be shared");
  ++count;
  return {this, page};
}

void KvPool::release(PageId page) {
  std::int32_t& count = references_[static_cast<std::size_t>(page)];
  COPPICE_CHECK(count > 0, "a page was given back twice");
  --count;
  if (count == 0) {
    free_.push_back(page);  // capacity is all pages since the constructor
  }
}

void PageTable::append(PageRef page) {
  COPPICE_CHECK(page.held() && page.pool_ == pool_, "a page table takes held pages of its own pool");
  ids_.push_back(page.page_);
  page.pool_ = nullptr;  // the table holds the reference now
}

void PageTable::replace(std::int32_t index, PageRef page) {
  COPPICE_CHECK(page.held() && page.pool_ == pool_, "a page table takes held pages of its own pool");
  PageId& entry = ids_[static_cast<std::size_t>(index)];
  pool_->release(entry);
  entry = page.page_;
  page.pool_ = nullptr;
}

void PageTable::truncate(std::int32_t count) {
  while (size() > count) {
    pool_->release(ids_.back());
    ids_.pop_back();
  }
}

}  // namespace coppice::engine
