// StepSlot: one step on its way through the engine: its plan, what became of each row, and how far it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/clock.h"
#include "engine/events.h"
#include "engine/step_plan.h"

namespace coppice::engine {

// In the order of a step's life. Only StepPipeline moves it.
enum class StepState : std::uint8_t {
  kEmpty,
  kChosen,   // the scheduler has chosen its sequences, which have pages
  kWritten,  // the plan is ready, except for tokens that are being drawn by the step before
  kFlying,   // between StepExecutor's submit() and collect(): the executor reads the plan
  kLanded,   // the results are there, not all of them booked
};

// What became of one row of the plan.
struct RowOutcome {
  SequenceSlot sequence = kNoSequence;  // kNoSequence: it has ended; the row is computed and thrown away
  bool draws = false;                   // its last logits are for a new token
  FinishReason reason = FinishReason::kNone;
  PlanRange path;  // of StepSlot::paths: its accepted draft nodes
};

// Owner: StepPipeline. The plan is written while the state is kChosen and read-only from then on, except for its late
// tokens until it flies; outcomes are valid from the submission on.
struct StepSlot {
  StepState state = StepState::kEmpty;
  StepPlan plan;
  std::vector<RowOutcome> outcomes;  // by row of the plan
  std::vector<std::int32_t> paths;
  bool is_foreseeable = false;  // the step behind this one may be chosen while this one flies
  base::Clock::TimePoint submitted_at;

  // The row's sequence has ended. The executor, which may be reading the plan, never sees this.
  void drop_row(std::size_t row) { outcomes[row].sequence = kNoSequence; }
  std::span<const std::int32_t> path_of(const RowOutcome& outcome) const { return outcome.path.of(paths); }
};

}  // namespace coppice::engine
