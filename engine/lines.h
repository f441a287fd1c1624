// Lines: the sequences that wait and those that run, in rank, and the tenants they belong to. It keeps the lists;
// Admission and Preemption decide which sequence moves from one to the other.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/btree_set.h"
#include "engine/sequence.h"
#include "engine/tenants.h"

namespace coppice::engine {

// Owner: the scheduler. Thread: the engine's. Writes LineState.
class Lines {
 public:
  Lines(std::int32_t running_max, const RequestTable& requests);

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

  const RequestTable& requests_;
  Tenants tenants_;
  absl::btree_set<SequenceKey> waiting_;
  std::vector<SequenceKey> running_;  // ascending
  std::vector<SequenceSlot> holders_;
  std::uint64_t admissions_ = 0;  // ranks given
  std::uint64_t step_ = 0;
};

}  // namespace coppice::engine
