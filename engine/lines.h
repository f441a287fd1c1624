// Lines: the sequences that wait and those that run, in rank, and the tenants they belong to. It keeps the lists;
// Admission and Preemption decide which sequence moves from one to the other.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "base/types.h"
#include "engine/sequence.h"

namespace coppice::engine {

// Cost of a token, in units of a computed prompt token. An output token takes a step of its own, as in the paper.
inline constexpr std::uint64_t kInputCost = 1;
inline constexpr std::uint64_t kOutputCost = 2;

// How much each tenant was served, so that many requests of one never push another's aside. The virtual token counter
// of "Fairness in Serving Large Language Models" (Sheng et al., arXiv 2401.00588): a tenant's counter grows by what it
// is given, the tenant with the least counter is admitted next, and one that comes back starts no lower than those that
// stayed, so that idleness cannot be saved up. Owner: Lines. Thread: the engine's. A tenant is active while it has a
// live sequence. Loops over tenants are bounded by the number of live sequences.
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

// Where priorities order one tenant's requests only, a request of priority p waits as if it had come p ×
// kAgePerPriority requests later (earlier, if p is negative; at most kPrioritySpan times that). So it goes before what
// came earlier at worse priority, yet a request that waits is overtaken by no more than twice that number of later
// ones.
inline constexpr std::int64_t kAgePerPriority = 32;
inline constexpr std::int32_t kPrioritySpan = 64;

// Owner: the scheduler. Thread: the engine's. Writes LineState.
class Lines {
 public:
  // across_tenants: priorities order the requests of all tenants.
  Lines(std::int32_t running_max, bool across_tenants, const RequestTable& requests);

  // Counts steps, in which waiting and running are measured.
  void begin_step() { ++step_; }

  // The sequence waits from now on. Its first call ranks it by its request and enters its tenant.
  void wait(Sequence& sequence);
  // Likewise for a fork of `parent`: in rank it stands beside it, as if admitted with it.
  void wait_beside(const Sequence& parent, Sequence& child);
  // A waiting sequence runs. The first time it gets the rank that it keeps.
  void run(Sequence& sequence);
  // A running sequence waits again.
  void stop(Sequence& sequence);
  // A waiting sequence lost its pages.
  void forget_holder(SequenceSlot slot);
  // Its waiting counts from this step.
  void restart_wait(Sequence& sequence) { sequence.line.since_ = step_; }
  // Forgets the sequence, which may also be dormant.
  void remove(Sequence& sequence);

  // Charges `tokens` prompt tokens to the sequence's tenant.
  void charge_prompt(const Sequence& sequence, std::int32_t tokens);
  // Charges those of its output tokens that were not charged before.
  void charge_output(Sequence& sequence);

  // In rank.
  const absl::btree_set<SequenceKey>& waiting() const { return waiting_; }
  const std::vector<SequenceKey>& running() const { return running_; }
  std::int32_t running_count() const { return static_cast<std::int32_t>(running_.size()); }
  // Waiting sequences that hold pages: forks that were not admitted yet.
  const std::vector<SequenceSlot>& holders() const { return holders_; }
  const Tenants& tenants() const { return tenants_; }
  const Tenants::Entry& tenant_of(const Sequence& sequence) const { return tenants_[sequence.line.tenant_]; }
  // Steps since the sequence began to wait or to run.
  std::uint64_t steps_in_state(const Sequence& sequence) const { return step_ - sequence.line.since_; }
  // First in rank of all that wait or run; kNoSequence when there is none.
  SequenceSlot oldest() const;

 private:
  void enter(Sequence& sequence);
  void leave_waiting(const Sequence& sequence);
  void leave_running(const Sequence& sequence);

  const bool across_tenants_;
  const RequestTable& requests_;
  Tenants tenants_;
  absl::btree_set<SequenceKey> waiting_;
  std::vector<SequenceKey> running_;  // ascending
  std::vector<SequenceSlot> holders_;
  std::uint64_t admissions_ = 0;  // ranks given
  std::uint64_t step_ = 0;
};

}  // namespace coppice::engine
