// StepChoice: what one sequence has of the coming step.
#pragma once

#include <cstdint>

namespace coppice::engine {

// Owner: RowBudget, which alone writes it; the others read. All zero when the sequence is not in the step.
class StepChoice {
 public:
  // Token rows of the sequence's own tokens, without drafts.
  std::int32_t planned_count() const { return planned_count_; }
  // Logits rows, without those of drafts.
  std::int32_t logits_count() const { return logits_count_; }
  // Draft nodes; each has a token row and a logits row.
  std::int32_t draft_count() const { return draft_count_; }
  bool in_step() const { return planned_count_ > 0; }

 private:
  friend class RowBudget;

  std::int32_t planned_count_ = 0;
  std::int32_t logits_count_ = 0;
  std::int32_t draft_count_ = 0;
};

}  // namespace coppice::engine
