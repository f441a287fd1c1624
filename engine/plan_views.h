// A StepPlan as kernels take it: views of its arrays. They are valid while the plan stays as it is.
#pragma once

#include <vector>

#include "engine/step_plan.h"
#include "kernels/attention_plan.h"
#include "kernels/sampling.h"

namespace coppice::engine {

// Replaces `sequences` by one entry a row of the plan, in its order.
inline void list_plan_sequences(const StepPlan& plan, std::vector<kernels::PlanSequence>& sequences) {
  sequences.clear();
  for (const StepRow& row : plan.rows) {
    kernels::PlanSequence& sequence = sequences.emplace_back();
    sequence.pages = plan.pages_of(row);
    sequence.row_begin = row.token_begin;
    sequence.row_count = row.token_count;
    sequence.position_begin = row.begin;
    sequence.draft_parents = plan.parents_of(row);
    sequence.shared_pages = row.shared_pages;
    sequence.identity = row.identity;
  }
}

inline kernels::SamplingRow sampling_row(const StepDraw& draw, const SamplingLists& lists) {
  kernels::SamplingRow row;
  static_cast<kernels::DrawNumbers&>(row) = draw.numbers;
  row.counts = draw.counts.of(lists.counts);
  row.biases = draw.biases.of(lists.biases);
  row.forbidden = draw.forbidden.of(lists.forbidden);
  return row;
}

// Replaces `rows` by one entry a logits row of the plan.
inline void list_sampling_rows(const StepPlan& plan, std::vector<kernels::SamplingRow>& rows) {
  rows.clear();
  for (const StepDraw& draw : plan.draws) {
    rows.push_back(sampling_row(draw, plan.lists));
  }
}

}  // namespace coppice::engine
