// Names of blocks, and changes that follow one another joined into one.
#include "engine/cache_journal.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/radix_tree.h"

namespace coppice::engine {

CacheJournal::CacheJournal(std::shared_ptr<CacheChangeQueue> queue, const KvPool& pool)
    : queue_(std::move(queue)),
      page_size_(static_cast<std::size_t>(pool.page_size())),
      hashes_(static_cast<std::size_t>(pool.pages())) {
  queue_->make_room(hashes_.size());
}

void CacheJournal::store(std::string_view tenant, PageId parent, std::span<const PageId> pages,
                         std::span<const TokenId> tokens) {
  COPPICE_CHECK(!pages.empty() && tokens.size() == pages.size() * page_size_, "whole pages with their tokens");
  CacheChange change{.kind = CacheChange::Kind::kStored, .tenant = std::string(tenant), .parent = {}, .blocks = {}};
  BlockHash last = root_hash(tenant);
  if (parent != kNoPage) {
    last = hashes_[static_cast<std::size_t>(parent)];
    change.parent = last;
  }
  change.blocks.reserve(pages.size());
  for (std::size_t i = 0; i < pages.size(); ++i) {
    last = XXH3_64bits_withSeed(tokens.data() + i * page_size_, page_size_ * sizeof(TokenId), last);
    hashes_[static_cast<std::size_t>(pages[i])] = last;
    change.blocks.push_back(last);
  }
  if (is_behind_) {
    return;  // the names are needed all the same
  }
  change.tokens.assign(tokens.begin(), tokens.end());
  changes_.push_back(std::move(change));
}

void CacheJournal::remove(std::string_view tenant, PageId page) {
  if (is_behind_) {
    return;
  }
  if (changes_.empty() || changes_.back().kind != CacheChange::Kind::kRemoved || changes_.back().tenant != tenant) {
    changes_.push_back(
        {.kind = CacheChange::Kind::kRemoved, .tenant = std::string(tenant), .parent = {}, .blocks = {}});
  }
  changes_.back().blocks.push_back(hashes_[static_cast<std::size_t>(page)]);
}

// Every node of the tree is stored again, parents first.
void CacheJournal::restart(const RadixTree& tree) {
  is_behind_ = false;
  changes_.push_back({.kind = CacheChange::Kind::kCleared, .tenant = {}, .parent = {}, .blocks = {}});
  const RadixNodes& nodes = tree.nodes();
  std::vector<std::pair<std::int32_t, RadixNodeId>> by_depth;  // in nodes, from the root
  for (RadixNodeId node = 0; node < nodes.count(); ++node) {
    if (nodes[node].live && !nodes[node].is_root()) {
      std::int32_t depth = 0;
      for (RadixNodeId above = node; !nodes[above].is_root(); above = nodes[above].parent) {
        ++depth;
      }
      by_depth.emplace_back(depth, node);
    }
  }
  std::sort(by_depth.begin(), by_depth.end());
  for (const auto& [depth, node] : by_depth) {
    std::vector<PageId> pages;
    std::vector<TokenId> tokens;
    for (PageId page = nodes[node].first_page; page != kNoPage; page = nodes.next(page)) {
      pages.push_back(page);
      const std::span<const TokenId> of_page = nodes.tokens_of(page);
      tokens.insert(tokens.end(), of_page.begin(), of_page.end());
    }
    store(tree.tenant_of(nodes.root_above(node)), nodes[nodes[node].parent].last_page, pages, tokens);
  }
}

void CacheJournal::flush(const RadixTree& tree) {
  if (is_behind_ && queue_->is_empty()) {
    restart(tree);
  }
  if (changes_.empty()) {
    return;
  }
  if (!queue_->append(std::move(changes_))) {
    is_behind_ = true;
  }
  changes_ = {};
}

}  // namespace coppice::engine
