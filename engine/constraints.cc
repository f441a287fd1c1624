// Asking constraints, and their masks in a plan.
#include "engine/constraints.h"

#include <algorithm>
#include <bit>
#include <span>
#include <utility>

#include "base/check.h"
#include "engine/draft_budget.h"

namespace coppice::engine {
namespace {

// Whether a token that is not in `forbidden` has its bit in `mask`.
bool has_choice(std::span<const std::uint32_t> mask, std::span<const TokenId> forbidden) {
  for (std::size_t word = 0; word < mask.size(); ++word) {
    for (std::uint32_t bits = mask[word]; bits != 0; bits &= bits - 1) {
      const auto token = static_cast<TokenId>(word * 32 + static_cast<std::size_t>(std::countr_zero(bits)));
      if (std::ranges::find(forbidden, token) == forbidden.end()) {
        return true;
      }
    }
  }
  return false;
}

DraftNodes nodes_of(const DraftTree& draft) {
  return {.parents = draft.parents, .tokens = draft.tokens};
}

}  // namespace

void Constraints::begin(SequenceSlot slot, const ConstraintSource& source) {
  if (states_.size() <= static_cast<std::size_t>(slot)) {
    states_.resize(static_cast<std::size_t>(slot) + 1);
  }
  COPPICE_CHECK(state(slot).constraint == nullptr && state(slot).status.ok(), "a slot begins once");
  absl::StatusOr<std::unique_ptr<TokenConstraint>> begun = source.begin();
  ++live_;
  if (!begun.ok()) {
    fail(slot, begun.status());
    return;
  }
  COPPICE_CHECK(*begun != nullptr, "a source makes a constraint or says why not");
  state(slot).constraint = *std::move(begun);
}

void Constraints::end(SequenceSlot slot) {
  if (static_cast<std::size_t>(slot) >= states_.size()) {
    return;
  }
  live_ -= has(slot) ? 1 : 0;
  state(slot) = {};
}

void Constraints::shrink() {
  base::release(states_);
  base::release(failed_);
}

void Constraints::fail(SequenceSlot slot, absl::Status status) {
  state(slot) = {.constraint = nullptr, .status = std::move(status)};
  --live_;
  failed_.push_back(slot);
}

bool Constraints::observe(SequenceSlot slot, TokenId token) {
  if (!has(slot)) {
    return true;
  }
  absl::Status status = state(slot).constraint->accept(token);
  if (!status.ok()) {
    fail(slot, std::move(status));
    return false;
  }
  return true;
}

std::int32_t Constraints::force(SequenceSlot slot, std::int32_t nodes_max, float survival, DraftTree& draft) {
  absl::StatusOr<std::vector<TokenId>> forced = state(slot).constraint->forced_tokens();
  if (!forced.ok()) {
    fail(slot, std::move(forced).status());
    return 0;
  }
  const auto count = static_cast<std::int32_t>(std::min(forced->size(), static_cast<std::size_t>(nodes_max)));
  for (std::int32_t i = 0; i < count; ++i) {
    const float above = i == 0 ? 1.0F : draft.survival.back();
    draft.add((*forced)[static_cast<std::size_t>(i)], i - 1, above * survival);
  }
  return count;
}

void Constraints::filter(SequenceSlot slot, DraftTree& draft) {
  if (draft.size() == 0 || !has(slot)) {
    return;
  }
  flags_.assign(draft.tokens.size(), 0);
  absl::Status status = state(slot).constraint->check_draft(nodes_of(draft), flags_);
  if (!status.ok()) {
    fail(slot, std::move(status));
    draft.clear();
    return;
  }
  prune(draft, flags_, prune_scratch_);
}

std::int64_t Constraints::write_masks(StepPlan& plan) {
  std::int64_t limited = 0;
  for (const StepRow& row : plan.rows) {
    const std::int32_t draws = 1 + row.draft_count;
    if (!has(row.slot) || row.logits_count < draws) {
      continue;
    }
    const auto first_draw = static_cast<std::size_t>(row.logits_begin + row.logits_count - draws);
    if (plan.draws[first_draw].numbers.scored < 0) {  // else the prompt goes on behind the row
      limited += write_row(row, first_draw, plan);
    }
  }
  return limited;
}

// The masks of a row's draws: the first after its last linear token, then one after each draft node.
std::int64_t Constraints::write_row(const StepRow& row, std::size_t first_draw, StepPlan& plan) {
  const auto count = static_cast<std::size_t>(1 + row.draft_count);
  std::vector<std::uint32_t>& masks = plan.lists.allowed;
  const std::size_t begin = masks.size();
  masks.resize(begin + count * words_);
  flags_.assign(count, 0);
  const PlanRange drafted{row.token_begin + row.linear_count(), row.draft_count};
  const DraftNodes draft{.parents = plan.parents_of(row), .tokens = drafted.of(plan.tokens)};
  absl::Status status = state(row.slot).constraint->fill_masks(draft, std::span(masks).subspan(begin), flags_);
  std::int64_t limited = 0;
  for (std::size_t i = 0; status.ok() && i < count; ++i) {
    StepDraw& draw = plan.draws[first_draw + i];
    if (flags_[i] == 0) {
      continue;
    }
    draw.allowed = {static_cast<std::int32_t>(begin + i * words_), static_cast<std::int32_t>(words_)};
    if (!tidy_mask(draw, plan.lists)) {
      status = absl::InternalError("it allows no token at all");
    }
    ++limited;
  }
  if (!status.ok()) {
    for (std::size_t i = 0; i < count; ++i) {
      plan.draws[first_draw + i].allowed = {};
    }
    fail(row.slot, std::move(status));
    return 0;
  }
  return limited;
}

// Returns whether any token may be drawn.
bool Constraints::tidy_mask(StepDraw& draw, SamplingLists& lists) const {
  const std::span<std::uint32_t> mask =
      std::span(lists.allowed).subspan(static_cast<std::size_t>(draw.allowed.begin), words_);
  if (vocab_ % 32 != 0) {
    mask.back() &= (1U << (vocab_ % 32)) - 1;
  }
  if (draw.forbidden.count > 0 && !has_choice(mask, draw.forbidden.of(lists.forbidden))) {
    draw.forbidden = {};
  }
  return has_choice(mask, {});
}

SequenceSlot Constraints::take_failed() {
  while (!failed_.empty()) {
    const SequenceSlot slot = failed_.back();
    failed_.pop_back();
    if (!state(slot).status.ok()) {
      return slot;
    }
  }
  return kNoSequence;
}

std::string Constraints::error(SequenceSlot slot) const {
  return "the constraint on the output failed: " +
         std::string(states_[static_cast<std::size_t>(slot)].status.message());
}

}  // namespace coppice::engine
