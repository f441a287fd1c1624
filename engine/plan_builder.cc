// From chosen sequences to the flat arrays of a StepPlan.
#include "engine/plan_builder.h"

#include <algorithm>

#include "base/check.h"

namespace coppice::engine {

void PlanBuilder::build(std::span<const SharingOrder::Entry> order, StepPlan& plan) {
  sampler_.begin_step();
  plan.number = ++built_;
  late_.clear();
  std::int32_t shared = 0;  // with the last row of the plan: the least over the entries between
  for (const SharingOrder::Entry& entry : order) {
    shared = std::min(shared, entry.shared_pages);
    const Sequence& sequence = sequences_[entry.slot];
    if (sequence.in_step()) {
      add_row(sequence, shared, plan);
      shared = sequence.hold.pages().size();
    }
  }
}

void PlanBuilder::add_row(const Sequence& sequence, std::int32_t shared_pages, StepPlan& plan) {
  StepRow row;
  row.slot = sequence.slot;
  row.begin = sequence.computed();
  row.draft_count = sequence.chosen.draft_count();
  row.token_count = sequence.chosen.planned_count() + row.draft_count;
  row.logits_count = sequence.chosen.logits_count() + row.draft_count;
  row.token_begin = plan.token_count();
  row.logits_begin = static_cast<std::int32_t>(plan.logits_rows.size());
  row.parents_begin = static_cast<std::int32_t>(plan.draft_parents.size());
  row.shared_pages = shared_pages;
  row.pages = sequence.hold.pages().ids();
  row.identity = sequence.hold.identity();
  for (std::int32_t i = 0; i < row.token_count; ++i) {
    const std::int32_t place = row.begin + i;
    plan.slots.push_back(row.pages[static_cast<std::size_t>(place / page_size_)] * page_size_ + place % page_size_);
  }
  for (std::int32_t i = 0; i < sequence.chosen.planned_count(); ++i) {
    plan.tokens.push_back(sequence.tokens.ids[static_cast<std::size_t>(row.begin + i)]);
    plan.positions.push_back(row.begin + i);
  }
  if (sequence.tokens.awaits_token && sequence.draws()) {
    late_.push_back(
        {row.slot, row.token_begin + sequence.chosen.planned_count() - 1, row.logits_begin + row.logits_count - 1});
  }
  add_draft(sequence, row, plan);
  for (std::int32_t i = row.token_count - row.logits_count; i < row.token_count; ++i) {
    plan.logits_rows.push_back(row.token_begin + i);
  }
  add_sampling(sequence, row, plan);
  plan.rows.push_back(row);
}

void PlanBuilder::fill_in(StepPlan& plan) {
  for (const LateRow& late : late_) {
    const Sequence& sequence = sequences_[late.slot];
    plan.tokens[static_cast<std::size_t>(late.token_row)] = sequence.tokens.ids.back();
    if (sampler_.counts_tokens(late.slot)) {
      plan.sampling[static_cast<std::size_t>(late.sampling_row)] =
          sampler_.draw_row(late.slot, sequence.token_count(), sequence.output_count(), {});
    }
  }
}

void PlanBuilder::add_draft(const Sequence& sequence, StepRow& row, StepPlan& plan) {
  const DraftTree& draft = sequence.drafting.draft;
  depths_.clear();
  for (std::int32_t node = 0; node < row.draft_count; ++node) {
    const std::int32_t parent = draft.parents[static_cast<std::size_t>(node)];
    COPPICE_CHECK(parent >= -1 && parent < node, "a draft's parents stand before their children");
    depths_.push_back(parent < 0 ? 1 : depths_[static_cast<std::size_t>(parent)] + 1);
    plan.draft_parents.push_back(parent);
    plan.tokens.push_back(draft.tokens[static_cast<std::size_t>(node)]);
    plan.positions.push_back(row.begin + sequence.chosen.planned_count() - 1 + depths_.back());
  }
}

// The first rows score prompt tokens; the row of the last token, if it is in the step, and each draft node draw.
void PlanBuilder::add_sampling(const Sequence& sequence, const StepRow& row, StepPlan& plan) {
  if (row.logits_count == 0) {
    return;
  }
  const std::int32_t end = row.begin + sequence.chosen.planned_count();  // of the linear rows
  for (std::int32_t position = end - sequence.chosen.logits_count(); position < end; ++position) {
    if (position + 1 < sequence.token_count()) {
      plan.sampling.push_back(
          sampler_.score_row(sequence.slot, sequence.tokens.ids[static_cast<std::size_t>(position + 1)]));
    } else {
      plan.sampling.push_back(sampler_.draw_row(sequence.slot, end, sequence.output_count(), {}));
    }
  }
  for (std::int32_t node = 0; node < row.draft_count; ++node) {
    path_.clear();
    for (std::int32_t at = node; at >= 0; at = sequence.drafting.draft.parents[static_cast<std::size_t>(at)]) {
      path_.push_back(sequence.drafting.draft.tokens[static_cast<std::size_t>(at)]);
    }
    std::reverse(path_.begin(), path_.end());
    const std::int32_t depth = depths_[static_cast<std::size_t>(node)];
    plan.sampling.push_back(sampler_.draw_row(sequence.slot, end + depth, sequence.output_count() + depth, path_));
  }
}

}  // namespace coppice::engine
