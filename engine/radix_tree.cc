// The smallest tree that keeps the contract: it remembers nothing, so every look-up misses.
#include "engine/radix_tree.h"

namespace coppice::engine {

void RadixLock::release() {
  if (tree_ != nullptr) {
    tree_->unlock(node_);
    tree_ = nullptr;
  }
}

RadixTree::RadixTree(KvPool& pool) : pool_(pool) {}
RadixTree::~RadixTree() = default;

std::int32_t RadixTree::peek(std::string_view /*tenant*/, std::span<const TokenId> /*tokens*/) const {
  return 0;
}

RadixLock RadixTree::match(std::string_view /*tenant*/, std::span<const TokenId> /*tokens*/, PageTable& table) {
  COPPICE_CHECK(table.empty(), "match fills an empty table");
  return {this, 0, 0};
}

std::int32_t RadixTree::extend(RadixLock& lock, std::span<const TokenId> tokens, PageTable& /*table*/) {
  COPPICE_CHECK(lock.held() && static_cast<std::int32_t>(tokens.size()) % pool_.page_size() == 0, "whole pages only");
  return 0;
}

RadixLock RadixTree::share(const RadixLock& lock) {
  return {this, lock.node_, lock.token_count_};
}

std::int32_t RadixTree::evict(std::int32_t /*pages*/) {
  return 0;
}

void RadixTree::append_pages(std::vector<PageId>& /*pages*/) const {}

void RadixTree::check_integrity() const {
  COPPICE_CHECK(pages_ == 0 && evictable_pages_ == 0, "a tree without nodes holds no page");
}

void RadixTree::unlock(std::uint32_t /*node*/) {}

}  // namespace coppice::engine
