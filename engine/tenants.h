// Tenants: how much each tenant was served, so that many requests of one never push another's aside. The virtual token
// counter of "Fairness in Serving Large Language Models" (Sheng et al., arXiv 2401.00588): a tenant's counter grows by
// what it is given, the tenant with the least counter is admitted next, and one that comes back starts no lower than
// those that stayed, so that idleness cannot be saved up.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "engine/line_state.h"

namespace coppice::engine {

// Cost of a token, in units of a computed prompt token. An output token takes a step of its own, as in the paper.
inline constexpr std::uint64_t kInputCost = 1;
inline constexpr std::uint64_t kOutputCost = 2;

// Owner: Lines. Thread: the engine's. A tenant is active while it has a live sequence. Loops over tenants are
// bounded by the number of live sequences.
class Tenants {
 public:
  struct Entry {
    std::string name;
    std::uint64_t served = 0;              // cost of all it was given, raised to the floor when it came
    std::int32_t live = 0;                 // sequences that wait or run
    std::int32_t running = 0;              // of those, how many run
    absl::btree_set<SequenceKey> waiting;  // of those, the ones that never ran
  };

  // One more live sequence of tenant `name`; its number, which holds until as many leave().
  std::int32_t enter(const std::string& name);
  void leave(std::int32_t tenant);
  void charge(std::int32_t tenant, std::uint64_t cost) { (*this)[tenant].served += cost; }

  Entry& operator[](std::int32_t tenant) { return entries_[static_cast<std::size_t>(tenant)]; }
  const Entry& operator[](std::int32_t tenant) const { return entries_[static_cast<std::size_t>(tenant)]; }
  // The numbers of the active tenants, in order of arrival.
  const std::vector<std::int32_t>& active() const { return active_; }
  // Tenants that left with more than the others had and are remembered for it; at most kRememberedMax.
  std::int32_t remembered() const { return static_cast<std::int32_t>(gone_.size()); }

  // Tenants: bounds the memory that ever new tenants can take to about 100 KiB.
  static constexpr std::int32_t kRememberedMax = 1024;

 private:
  void raise_floor(std::uint64_t served);
  std::uint64_t recall(const std::string& name);
  void remember(const Entry& entry);

  std::deque<Entry> entries_;
  std::vector<std::int32_t> free_;
  std::vector<std::int32_t> active_;
  absl::flat_hash_map<std::string, std::int32_t> by_name_;
  absl::btree_set<std::pair<std::uint64_t, std::string>> gone_;  // those remembered: (served, name)
  absl::flat_hash_map<std::string, std::uint64_t> gone_served_;  // the same, by name
  std::uint64_t floor_ = 0;  // the least counter of the active tenants, or of the last that left; never falls
};

}  // namespace coppice::engine
