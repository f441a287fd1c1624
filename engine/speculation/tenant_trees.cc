// Which output goes first when the trees take too much memory.
#include "engine/speculation/tenant_trees.h"

#include <algorithm>

namespace coppice::engine {
namespace {

// Suffixes evicted for each token that comes in while the trees are too large: more than one, so that they shrink.
constexpr std::size_t kEvictPerToken = 2;
// And for each sequence that ends: requests with a salt of their own bring few tokens and a tree each.
constexpr std::size_t kEvictAtEnd = 48;

}  // namespace

Tenant& TenantTrees::tenant(std::string_view name) {
  const std::string_view key = is_shared_ ? std::string_view() : name;
  auto found = tenants_.find(key);
  if (found == tenants_.end()) {
    found = tenants_.emplace(std::string(key), std::make_unique<Tenant>(std::string(key), depth_)).first;
  }
  return *found->second;
}

Tenant& TenantTrees::everyone() {
  if (everyone_ == nullptr) {
    everyone_ = std::make_unique<Tenant>("", depth_);
  }
  return *everyone_;
}

const Tenant* TenantTrees::first_from(std::string_view name) const {
  const auto found = tenants_.lower_bound(name);
  return found == tenants_.end() ? nullptr : found->second.get();
}

void TenantTrees::account(Tenant& tenant) {
  bytes_ -= tenant.bytes;
  tenant.bytes = tenant.tree.bytes();
  bytes_ += tenant.bytes;
}

void TenantTrees::keep(Tenant& tenant, SuffixTree::SequenceId sequence) {
  tenant.finished.push_back(sequence);
  ages_.push_back(&tenant);
}

void TenantTrees::make_room_for_tokens(std::size_t tokens) {
  evict(tokens * kEvictPerToken);
}

void TenantTrees::make_room_for_end() {
  evict(kEvictAtEnd);
}

// An output that is partly out is always finished first. A tenant goes with the last text of it.
void TenantTrees::evict(std::size_t suffixes_max) {
  while (suffixes_max > 0 && !ages_.empty() && (is_evicting_ || is_full())) {
    Tenant& tenant = *ages_.front();
    const std::size_t before = tenant.tree.tokens();
    is_evicting_ = !tenant.tree.remove(tenant.finished.front(), suffixes_max);
    suffixes_max -= std::min(suffixes_max, std::max<std::size_t>(before - tenant.tree.tokens(), 1));
    account(tenant);
    if (is_evicting_) {
      continue;
    }
    tenant.finished.pop_front();
    ages_.pop_front();
    if (tenant.finished.empty() && tenant.users == 0 && tenant.corpus_texts == 0) {
      bytes_ -= tenant.bytes;
      tenants_.erase(tenants_.find(tenant.name));
    }
  }
}

std::size_t TenantTrees::tokens() const {
  std::size_t sum = everyone_ == nullptr ? 0 : everyone_->tree.tokens();
  for (const auto& [name, tenant] : tenants_) {
    sum += tenant->tree.tokens();
  }
  return sum;
}

}  // namespace coppice::engine
