// The rows of a step as the attention planner wants them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/step_plan.h"
#include "kernels/attention_plan.h"

namespace coppice::engine {

// Replaces `sequences` by one a row of the plan, in its order; they name the plan's memory.
inline void list_plan_sequences(const StepPlan& plan, std::vector<kernels::PlanSequence>& sequences) {
  sequences.clear();
  for (const StepRow& row : plan.rows) {
    kernels::PlanSequence& sequence = sequences.emplace_back();
    sequence.pages = row.pages;
    sequence.row_begin = row.token_begin;
    sequence.row_count = row.token_count;
    sequence.position_begin = row.begin;
    sequence.draft_parents =
        std::span<const std::int32_t>(plan.draft_parents)
            .subspan(static_cast<std::size_t>(row.parents_begin), static_cast<std::size_t>(row.draft_count));
    sequence.shared_pages = row.shared_pages;
    sequence.identity = row.identity;
  }
}

}  // namespace coppice::engine
