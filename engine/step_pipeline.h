// StepPipeline: the steps in the engine's hands and the executor that runs them. It alone moves a StepSlot's state.
//
//   empty -> chosen -> written -> flying -> landed -> empty
//                \________________/  \__________________/
//                  the coming step    the step that runs
//
// Where submit() only starts a step there are two slots, so that the coming step is chosen and written while one flies.
// Elsewhere there is one, and everything happens in turn; nothing else differs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "engine/events.h"
#include "engine/step_plan.h"

namespace coppice::engine {

// In the order of a step's life.
enum class StepState : std::uint8_t {
  kEmpty,
  kChosen,   // the scheduler has chosen its sequences, which have pages
  kWritten,  // the plan is ready, except for tokens that are being drawn by the step before
  kFlying,   // between StepExecutor's submit() and collect(): the executor reads the plan; masks come until draw()
  kLanded,   // the results are there, not all of them booked
};

// What became of one row of the plan.
struct RowOutcome {
  SequenceSlot sequence = kNoSequence;  // kNoSequence: it has ended; the row is computed and thrown away
  bool draws = false;                   // its last logits are for a new token
  FinishReason reason = FinishReason::kNone;
  PlanRange path;  // of StepSlot::paths: its accepted draft nodes
};

// One step on its way through the engine: its plan, what became of each row, and how far it is. Owner: StepPipeline.
// The plan is written while the state is kChosen and read-only from then on, except for its late
// tokens until it flies and the masks of its draws until draw(); outcomes are valid from the submission on.
struct StepSlot {
  StepState state = StepState::kEmpty;
  StepPlan plan;
  std::vector<RowOutcome> outcomes;  // by row of the plan
  std::vector<std::int32_t> paths;
  bool is_foreseeable = false;      // the step behind this one may be chosen while this one flies
  base::Clock::TimePoint begun_at;  // before its submission, in which a CPU computes it
  base::Clock::TimePoint submitted_at;

  // The row's sequence has ended. The executor, which may be reading the plan, never sees this.
  void drop_row(std::size_t row) { outcomes[row].sequence = kNoSequence; }
  std::span<const std::int32_t> path_of(const RowOutcome& outcome) const { return outcome.path.of(paths); }
};

// What must happen to the KV cache before the next step reads it, whichever step that is: accepted draft nodes move to
// their positions, pages with several holders are copied before they are written. The next successful submission takes
// it along.
struct OwedKvWork {
  std::vector<kernels::SlotMove> moves;
  std::vector<PageCopy> copies;
};

// Owner: EngineCore. Thread: the engine's.
class StepPipeline {
 public:
  StepPipeline(std::unique_ptr<StepExecutor> executor, const base::Clock& clock);
  // Waits for a step that flies.
  ~StepPipeline();
  StepPipeline(const StepPipeline&) = delete;
  StepPipeline& operator=(const StepPipeline&) = delete;

  // Steps that may be under way at once: 2 where the device works beside the engine's thread, else 1.
  std::int32_t depth() const { return static_cast<std::int32_t>(slots_.size()); }
  bool is_flying() const { return flying_ != nullptr; }
  // The device has not finished the step that flies.
  bool is_working() const { return executor_->is_working(); }

  // The step that is empty, chosen or written. REQUIRES: nothing flies and nothing has landed, or depth() is 2.
  StepSlot& coming() { return *coming_; }
  // REQUIRES: is_flying().
  const StepSlot& flying() const { return *flying_; }
  StepSlot& flying() { return *flying_; }
  // REQUIRES: between land() and retire().
  StepSlot& landed() { return *landed_; }
  OwedKvWork& owed() { return owed_; }

  // The coming step is chosen or written.
  bool is_chosen() const { return coming_ != nullptr && coming_->state != StepState::kEmpty; }
  // The scheduler was asked for the coming step before, since the last submission.
  bool was_tried() const { return was_tried_; }
  // empty, chosen or written -> chosen; empty if the choice is not complete while another step flies. `copies` are
  // owed, whatever becomes of the choice.
  void choose(bool is_complete, std::span<const PageCopy> copies);
  // chosen or written -> written. REQUIRES: coming().plan has rows.
  void write();
  // Has the device do what it can for the written step while another one flies.
  void prepare() { executor_->prepare(coming_->plan); }
  // chosen or written -> empty: there is nothing to run.
  void give_up();
  // written -> flying. ERRORS: of the executor; the slot is empty then, its outcomes still name the sequences.
  absl::Status submit();
  // Has the step that was just submitted drawn. REQUIRES: once, after submit().
  void draw() { executor_->draw(flying_->plan); }
  // flying -> landed. Waits for the results. ERRORS: of the executor; the step is lost, but landed.
  absl::StatusOr<StepResult> land();
  // landed -> empty.
  void retire();
  // A sequence has ended: drops its row of the step that flies, if it has one. O(rows).
  void drop(SequenceSlot sequence);

 private:
  const std::unique_ptr<StepExecutor> executor_;
  const base::Clock& clock_;
  std::vector<StepSlot> slots_;
  StepSlot* coming_ = nullptr;  // null: all slots are under way
  StepSlot* flying_ = nullptr;
  StepSlot* landed_ = nullptr;
  bool was_tried_ = false;
  OwedKvWork owed_;
};

}  // namespace coppice::engine
