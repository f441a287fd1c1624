// The books of kept prefixes.
#include "engine/kept_prefixes.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "base/check.h"

namespace coppice::engine {

void KeptPrefixes::enter(RadixNodeId node, const Entry& entry) {
  entries_.emplace(node, entry);
  by_end_.emplace(entry.until, node);
  entry.account->second.by_use.emplace(entry.use, node);
}

// The account stays, even without entries.
KeptPrefixes::Entry KeptPrefixes::leave(RadixNodeId node) {
  const auto found = entries_.find(node);
  COPPICE_CHECK(found != entries_.end(), "a kept prefix ends at the node");
  const Entry entry = found->second;
  entries_.erase(found);
  by_end_.erase({entry.until, node});
  entry.account->second.by_use.erase({entry.use, node});
  return entry;
}

bool KeptPrefixes::keep(RadixNodeId node, std::string_view account, Duration time, TimePoint now) {
  Entry entry{accounts_.try_emplace(std::string(account)).first, time, now + time, ++uses_};
  const bool is_new = !ends_at(node);
  if (!is_new) {
    const Entry before = leave(node);
    COPPICE_CHECK(before.account == entry.account, "a tenant's kept prefixes are of one account");
    entry.time = std::max(time, before.time);
    entry.until = std::max(entry.until, before.until);
  }
  enter(node, entry);
  return is_new;
}

void KeptPrefixes::renew(RadixNodeId node, TimePoint now) {
  if (!ends_at(node)) {
    return;
  }
  Entry entry = leave(node);
  entry.until = std::max(entry.until, now + entry.time);
  entry.use = ++uses_;
  enter(node, entry);
}

bool KeptPrefixes::move(RadixNodeId from, RadixNodeId to) {
  Entry entry = leave(from);
  const bool is_one = ends_at(to);
  if (is_one) {
    const Entry there = leave(to);
    entry.time = std::max(entry.time, there.time);
    entry.until = std::max(entry.until, there.until);
    entry.use = std::max(entry.use, there.use);
  }
  enter(to, entry);
  return is_one;
}

void KeptPrefixes::erase(RadixNodeId node) {
  const Entry entry = leave(node);
  if (entry.account->second.by_use.empty()) {
    COPPICE_CHECK(entry.account->second.pages == 0, "an account without kept prefixes has no kept pages");
    accounts_.erase(entry.account);
  }
}

void KeptPrefixes::count_pages(RadixNodeId node, std::int32_t more) {
  entries_.at(node).account->second.pages += more;
  pages_ += more;
}

std::int32_t KeptPrefixes::pages_of(std::string_view account) const {
  const auto found = accounts_.find(account);
  return found == accounts_.end() ? 0 : found->second.pages;
}

const std::string& KeptPrefixes::largest_account() const {
  return std::max_element(accounts_.begin(), accounts_.end(),
                          [](const auto& left, const auto& right) { return left.second.pages < right.second.pages; })
      ->first;
}

std::int32_t KeptPrefixes::fair_share(std::int32_t pages) const {
  std::vector<std::int32_t> counts;
  for (const auto& [name, account] : accounts_) {
    counts.push_back(account.pages);
  }
  std::sort(counts.begin(), counts.end());
  auto left = static_cast<std::int32_t>(counts.size());
  for (const std::int32_t count : counts) {
    if (count > pages / left) {
      return pages / left;
    }
    pages -= count;
    --left;
  }
  return std::numeric_limits<std::int32_t>::max();
}

RadixNodeId KeptPrefixes::ended(TimePoint now) const {
  return by_end_.empty() || by_end_.begin()->first > now ? kNoRadixNode : by_end_.begin()->second;
}

RadixNodeId KeptPrefixes::least_recently_used(std::string_view account) const {
  const auto found = accounts_.find(account);
  return found == accounts_.end() ? kNoRadixNode : found->second.by_use.begin()->second;
}

void KeptPrefixes::check_integrity() const {
  std::size_t by_use = 0;
  std::int32_t pages = 0;
  for (const auto& [name, account] : accounts_) {
    COPPICE_CHECK(!account.by_use.empty(), "an account has kept prefixes");
    by_use += account.by_use.size();
    pages += account.pages;
  }
  COPPICE_CHECK(by_use == entries_.size() && by_end_.size() == entries_.size(),
                "each kept prefix stands in each order");
  COPPICE_CHECK(pages == pages_, "kept pages add up");
}

}  // namespace coppice::engine
