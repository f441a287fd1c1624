// From chosen sequences to the flat arrays of a StepPlan.
#include "engine/step_writer.h"

#include <algorithm>

#include "base/check.h"

namespace coppice::engine {

void StepWriter::write(std::span<const SharingOrder::Entry> order, StepPlan& plan) {
  plan.number = ++written_;
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

void StepWriter::add_row(const Sequence& sequence, std::int32_t shared_pages, StepPlan& plan) {
  const PageTable& pages = sequence.hold.pages();
  const StepChoice& chosen = sequence.chosen;
  StepRow row;
  row.slot = sequence.slot;
  row.begin = sequence.computed();
  row.draft_count = chosen.draft_count();
  row.token_count = chosen.planned_count() + row.draft_count;
  const bool reads_hidden = sequence.reading.reads_hidden();
  row.logits_count = reads_hidden ? 0 : chosen.output_count() + row.draft_count;
  row.hidden_count = reads_hidden ? chosen.output_count() : 0;
  row.token_begin = plan.token_count();
  row.logits_begin = static_cast<std::int32_t>(plan.logits_rows.size());
  row.hidden_begin = static_cast<std::int32_t>(plan.hidden_rows.size());
  row.parents_begin = static_cast<std::int32_t>(plan.draft_parents.size());
  row.shared_pages = shared_pages;
  row.pages = {static_cast<std::int32_t>(plan.pages.size()), pages.size()};
  row.identity = sequence.hold.identity();
  plan.pages.insert(plan.pages.end(), pages.ids().begin(), pages.ids().end());
  for (std::int32_t i = 0; i < row.token_count; ++i) {
    plan.slots.push_back(pages.slot_of(row.begin + i, page_size_));
  }
  const auto first = sequence.tokens.ids().begin() + row.begin;
  plan.tokens.insert(plan.tokens.end(), first, first + chosen.planned_count());
  if (sequence.tokens.awaits_token() && sequence.draws()) {
    late_.push_back({row.slot, row.token_begin + chosen.planned_count() - 1, row.logits_begin + row.logits_count - 1});
  }
  add_draft(sequence, plan);
  for (std::int32_t i = row.token_count - row.logits_count; i < row.token_count; ++i) {
    plan.logits_rows.push_back(row.token_begin + i);
  }
  for (std::int32_t i = row.token_count - row.hidden_count; i < row.token_count; ++i) {
    plan.hidden_rows.push_back(row.token_begin + i);
  }
  add_draws(sequence, row, plan);
  plan.rows.push_back(row);
}

void StepWriter::fill_in(StepPlan& plan) {
  for (const LateRow& late : late_) {
    const TokenId token = sequences_[late.slot].tokens.ids().back();
    plan.tokens[static_cast<std::size_t>(late.token_row)] = token;
    sampler_.count_late(late.slot, token, plan.draws[static_cast<std::size_t>(late.draw)], plan.lists);
  }
}

void StepWriter::add_draft(const Sequence& sequence, StepPlan& plan) {
  const DraftTree& draft = sequence.drafting.draft();
  for (std::int32_t node = 0; node < sequence.chosen.draft_count(); ++node) {
    const std::int32_t parent = draft.parents[static_cast<std::size_t>(node)];
    COPPICE_CHECK(parent >= -1 && parent < node, "a draft's parents stand before their children");
    plan.draft_parents.push_back(parent);
    plan.tokens.push_back(draft.tokens[static_cast<std::size_t>(node)]);
  }
}

// The first rows score prompt tokens; the row of the last token, if it is in the step, and each draft node draw, or
// labels are read there.
void StepWriter::add_draws(const Sequence& sequence, const StepRow& row, StepPlan& plan) {
  const std::int32_t end = row.begin + sequence.chosen.planned_count();  // of the linear rows
  for (std::int32_t position = end - (row.logits_count - row.draft_count); position < end; ++position) {
    if (position + 1 < sequence.token_count()) {
      const TokenId next = sequence.tokens.ids()[static_cast<std::size_t>(position + 1)];
      plan.draws.push_back(sampler_.score(sequence.slot, next));
    } else if (sequence.reading.kind() == Reading::kLabels) {
      plan.draws.push_back(sampler_.read(sequence.slot, plan.lists));
    } else {
      const StepDraw root = sampler_.draw(sequence.slot, end, sequence.output_count(), plan.lists);
      plan.draws.push_back(root);
      add_draft_draws(sequence, root, plan);
    }
  }
}

void StepWriter::add_draft_draws(const Sequence& sequence, const StepDraw& root, StepPlan& plan) {
  const DraftTree& draft = sequence.drafting.draft();
  for (std::int32_t node = 0; node < sequence.chosen.draft_count(); ++node) {
    path_.clear();
    for (std::int32_t at = node; at >= 0; at = draft.parents[static_cast<std::size_t>(at)]) {
      path_.push_back(draft.tokens[static_cast<std::size_t>(at)]);
    }
    std::reverse(path_.begin(), path_.end());
    const std::int32_t output_index = sequence.output_count() + static_cast<std::int32_t>(path_.size());
    plan.draws.push_back(sampler_.draw_after(sequence.slot, root, output_index, path_, plan.lists));
  }
}

}  // namespace coppice::engine
