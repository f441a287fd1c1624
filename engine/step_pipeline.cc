// The moves of a step's state.
#include "engine/step_pipeline.h"

#include <utility>

#include "base/check.h"

namespace coppice::engine {

StepPipeline::StepPipeline(std::unique_ptr<StepExecutor> executor, const base::Clock& clock)
    : executor_(std::move(executor)), clock_(clock) {
  COPPICE_CHECK(executor_ != nullptr, "an engine needs an executor");
  slots_.resize(executor_->is_asynchronous() ? 2 : 1);
  coming_ = &slots_.front();
}

StepPipeline::~StepPipeline() {
  if (is_flying()) {
    static_cast<void>(executor_->collect());
  }
}

void StepPipeline::choose(bool is_complete, std::span<const PageCopy> copies) {
  COPPICE_CHECK(coming_ != nullptr, "a step is chosen into a free slot");
  coming_->state = is_complete ? StepState::kChosen : StepState::kEmpty;
  owed_.copies.insert(owed_.copies.end(), copies.begin(), copies.end());
  was_tried_ = true;
}

void StepPipeline::write() {
  COPPICE_CHECK(is_chosen() && !coming_->plan.empty(), "a chosen step is written");
  coming_->state = StepState::kWritten;
}

void StepPipeline::give_up() {
  coming_->state = StepState::kEmpty;
  was_tried_ = false;
}

absl::Status StepPipeline::submit() {
  COPPICE_CHECK(!is_flying() && coming_->state == StepState::kWritten, "a written step flies, one at a time");
  StepSlot& slot = *coming_;
  was_tried_ = false;
  slot.plan.moves = owed_.moves;
  slot.plan.copies = owed_.copies;
  slot.begun_at = clock_.now();
  absl::Status status = executor_->submit(slot.plan);
  slot.submitted_at = clock_.now();
  // Only now: from here on the device works.
  slot.is_foreseeable = false;
  slot.paths.clear();
  slot.outcomes.assign(slot.plan.rows.size(), {});
  for (std::size_t i = 0; i < slot.outcomes.size(); ++i) {
    slot.outcomes[i].sequence = slot.plan.rows[i].slot;
  }
  if (!status.ok()) {
    slot.state = StepState::kEmpty;
    return status;
  }
  owed_.moves.clear();
  owed_.copies.clear();
  slot.state = StepState::kFlying;
  flying_ = &slot;
  coming_ = nullptr;
  for (StepSlot& other : slots_) {
    if (other.state == StepState::kEmpty) {
      coming_ = &other;
    }
  }
  return status;
}

absl::StatusOr<StepResult> StepPipeline::land() {
  COPPICE_CHECK(is_flying(), "a step flies before it lands");
  absl::StatusOr<StepResult> result = executor_->collect();
  flying_->state = StepState::kLanded;
  landed_ = std::exchange(flying_, nullptr);
  return result;
}

void StepPipeline::retire() {
  COPPICE_CHECK(landed_ != nullptr, "a landed step is retired");
  landed_->state = StepState::kEmpty;
  if (coming_ == nullptr) {
    coming_ = landed_;
  }
  landed_ = nullptr;
}

void StepPipeline::drop(SequenceSlot sequence) {
  if (!is_flying()) {
    return;
  }
  for (std::size_t i = 0; i < flying_->outcomes.size(); ++i) {
    if (flying_->outcomes[i].sequence == sequence) {
      flying_->drop_row(i);
      return;
    }
  }
}

}  // namespace coppice::engine
