// KeptPrefixes: the prefixes that clients asked to keep in the prefix cache for a time: where each ends in the radix
// tree, until when it is kept, and how many pages each account has of them. It only keeps the books; RadixTree moves
// the nodes. A kept prefix is evicted after all that is not kept, but it is evicted when nothing else can be: it never
// holds a page that a request needs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "engine/radix_nodes.h"

namespace coppice::engine {

// Pages that may be kept. A prefix beyond them is kept in part, or its account's least recently used one is no longer.
struct KeepLimits {
  std::int32_t account_pages = 0;  // of one account; 0 = nothing is kept
  std::int32_t pages = 0;          // of all
};

// Owner: a RadixTree. Thread: the engine's. Memory grows with the number of kept prefixes, each of which has a page.
class KeptPrefixes {
 public:
  using TimePoint = base::Clock::TimePoint;
  using Duration = TimePoint::duration;

  // A prefix that ends at `node` is kept for `time` from `now`, or longer if it already was. Returns whether it was
  // not.
  bool keep(RadixNodeId node, std::string_view account, Duration time, TimePoint now);
  // It is used: kept for its whole time again. Nodes at which none ends are ignored.
  void renew(RadixNodeId node, TimePoint now);
  // What ends at `from` ends at `to` from now on. Returns whether one ended there already: the two are one then.
  bool move(RadixNodeId from, RadixNodeId to);
  void erase(RadixNodeId node);
  bool ends_at(RadixNodeId node) const { return entries_.contains(node); }
  bool empty() const { return entries_.empty(); }

  // Pages came under, or out of, the kept prefixes of the account of the one that ends at `node`.
  void count_pages(RadixNodeId node, std::int32_t more);
  std::int32_t pages() const { return pages_; }
  std::int32_t pages_of(std::string_view account) const;
  // The account of what ends at `node`. REQUIRES: ends_at(node). Valid until the account has no kept prefix.
  const std::string& account_of(RadixNodeId node) const { return entries_.at(node).account->first; }
  // The account with the most pages. REQUIRES: !empty().
  const std::string& largest_account() const;
  // The most pages that each account may have for all to have at most `pages` together: those with fewer leave what
  // they do not have to the others (max-min fairness).
  std::int32_t fair_share(std::int32_t pages) const;

  // Where the first to end does, if it ends at or before `now`; else kNoRadixNode.
  RadixNodeId ended(TimePoint now) const;
  // Where the account's least recently used one ends; kNoRadixNode when it has none.
  RadixNodeId least_recently_used(std::string_view account) const;
  // COPPICE_CHECKs that the orders hold exactly the entries.
  void check_integrity() const;

 private:
  struct Account {
    std::int32_t pages = 0;
    absl::btree_set<std::pair<std::uint64_t, RadixNodeId>> by_use;
  };
  using Accounts = std::map<std::string, Account, std::less<>>;
  struct Entry {
    Accounts::iterator account;
    Duration time{};
    TimePoint until;
    std::uint64_t use = 0;
  };

  void enter(RadixNodeId node, const Entry& entry);
  Entry leave(RadixNodeId node);

  Accounts accounts_;  // those with entries
  absl::flat_hash_map<RadixNodeId, Entry> entries_;
  absl::btree_set<std::pair<TimePoint, RadixNodeId>> by_end_;
  std::int32_t pages_ = 0;
  std::uint64_t uses_ = 0;
};

}  // namespace coppice::engine
