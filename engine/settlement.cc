// Advancing sequences by what a step computed and drew.
#include "engine/settlement.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "base/check.h"

namespace coppice::engine {
namespace {

std::span<const kernels::SamplingResult> results_of(const StepRow& row, const StepResult& result) {
  return result.results.subspan(static_cast<std::size_t>(row.logits_begin), static_cast<std::size_t>(row.logits_count));
}

// The hidden states of a row, one after the other.
std::span<const float> hidden_of(const StepRow& row, const StepPlan& plan, const StepResult& result) {
  if (row.hidden_count == 0) {
    return {};
  }
  const std::size_t width = result.hidden.size() / plan.hidden_rows.size();
  return result.hidden.subspan(static_cast<std::size_t>(row.hidden_begin) * width,
                               static_cast<std::size_t>(row.hidden_count) * width);
}

// Results of a row that draw tokens: one after the last linear token and one after each draft node. The others score
// prompt tokens. Where labels are read, the one that does counts as a draw.
std::int32_t draw_count(const StepRow& row, const RowOutcome& outcome) {
  return outcome.draws && row.hidden_count == 0 ? 1 + row.draft_count : 0;
}

bool has_broken(std::span<const kernels::SamplingResult> results) {
  return std::any_of(results.begin(), results.end(), [](const auto& result) { return result.is_broken; });
}

bool has_broken(std::span<const float> states) {
  return !std::all_of(states.begin(), states.end(), [](float number) { return std::isfinite(number); });
}

constexpr const char* kBrokenLogits =
    "the model's logits are not numbers (NaN or infinity): its weights are damaged, or overflow in this type of number";
constexpr const char* kBrokenStates =
    "the model's hidden states are not numbers (NaN or infinity): its weights are damaged, or overflow in this type of "
    "number";

bool ends_prompt(const StepRow& row, const Sequence& sequence) {
  return row.begin < sequence.tokens.prompt_count() && sequence.computed() >= sequence.tokens.prompt_count();
}

}  // namespace

void accept_draft(const DraftTree& tree, std::span<const kernels::SamplingResult> results,
                  std::vector<std::int32_t>& path) {
  COPPICE_CHECK(results.size() == tree.tokens.size() + 1, "one draw for the last token and one for each draft node");
  path.clear();
  std::int32_t at = -1;
  TokenId drawn = results[0].token;
  // Parents stand before children, so one pass finds the whole path.
  for (std::int32_t node = 0; node < tree.size(); ++node) {
    const auto index = static_cast<std::size_t>(node);
    if (tree.parents[index] == at && tree.tokens[index] == drawn) {
      path.push_back(node);
      at = node;
      drawn = results[index + 1].token;
    }
  }
}

void append_path_moves(const PageTable& pages, std::int32_t page_size, std::int32_t draft_begin,
                       std::span<const std::int32_t> path, std::vector<kernels::SlotMove>& moves) {
  for (std::size_t depth = 0; depth < path.size(); ++depth) {
    const auto place = static_cast<std::int32_t>(depth);
    if (path[depth] != place) {
      moves.push_back(
          {pages.slot_of(draft_begin + path[depth], page_size), pages.slot_of(draft_begin + place, page_size)});
    }
  }
}

void Settlement::assume(StepSlot& slot) {
  bool is_foreseeable = homes_.pipeline.depth() > 1;
  for (std::size_t i = 0; i < slot.outcomes.size(); ++i) {
    RowOutcome& outcome = slot.outcomes[i];
    if (outcome.sequence != kNoSequence && assume_row(slot.plan.rows[i], outcome)) {
      is_foreseeable = false;
    }
  }
  slot.is_foreseeable = is_foreseeable;
  for (std::size_t i = 0; is_foreseeable && i < slot.outcomes.size(); ++i) {
    if (slot.outcomes[i].draws) {
      sequences_[slot.outcomes[i].sequence].tokens.await_token();
    }
  }
}

// Returns whether siblings fork from the sequence when the step is booked. They take the pages that it has then, so the
// next step cannot be chosen before.
bool Settlement::assume_row(const StepRow& row, RowOutcome& outcome) {
  Sequence& sequence = sequences_[outcome.sequence];
  Scheduler::set_computed(sequence, row.begin + row.linear_count());
  Drafter::start(sequence);
  COPPICE_CHECK(sequence.drafting.flying().size() == row.draft_count, "the draft that flies is the row's");
  Scheduler::leave_out(sequence);
  outcome.draws = sequence.computed() == sequence.token_count();
  if (sequence.wants_rows()) {
    sequence.tokens.rows_reported_ += row.logits_count + row.hidden_count - draw_count(row, outcome);
  }
  return ends_prompt(row, sequence) && requests_[sequence.request].dormant_choices > 0;
}

void Settlement::settle(StepSlot& slot, const StepResult& result, OwedKvWork& owed) {
  COPPICE_CHECK(result.results.size() == slot.plan.logits_rows.size(), "one result a logits row");
  COPPICE_CHECK(
      slot.plan.hidden_rows.empty() ? result.hidden.empty() : result.hidden.size() % slot.plan.hidden_rows.size() == 0,
      "one hidden state a hidden row");
  for (std::size_t i = 0; i < slot.outcomes.size(); ++i) {
    const StepRow& row = slot.plan.rows[i];
    RowOutcome& outcome = slot.outcomes[i];
    if (outcome.sequence == kNoSequence) {
      continue;
    }
    Sequence& sequence = sequences_[outcome.sequence];
    const Results results = results_of(row, result);
    const Results draws = results.last(static_cast<std::size_t>(draw_count(row, outcome)));
    if (outcome.draws && sequence.tokens.has_output()) {
      settle_row(sequence, draws, slot, outcome);
      if (row.draft_count > 0) {
        settle_draft(sequence, row, slot.path_of(outcome), owed);
      }
    } else if (outcome.draws) {
      const bool is_broken = sequence.reading.kind() == Reading::kLabels && has_broken(draws);
      outcome.reason = is_broken ? FinishReason::kError : FinishReason::kLength;
    }
    if (has_broken(results.first(results.size() - draws.size())) || has_broken(hidden_of(row, slot.plan, result))) {
      outcome.reason = FinishReason::kError;
    }
    stats_.counts().broken_logits += outcome.reason == FinishReason::kError ? 1 : 0;
  }
}

void Settlement::settle_row(Sequence& sequence, Results draws, StepSlot& slot, RowOutcome& outcome) {
  sequence.tokens.forget_awaited();
  accept_draft(sequence.drafting.flying(), draws, path_);
  std::size_t taken = 0;  // draws: the first, then one for each accepted node
  bool goes_on = true;
  do {
    const kernels::SamplingResult& draw = draw_along(draws, path_, taken);
    ++taken;
    if (draw.is_broken) {  // nothing was drawn: the sequence ends with what it has
      outcome.reason = FinishReason::kError;
      break;
    }
    sequence.tokens.ids_.push_back(draw.token);
    homes_.sampler.observe(sequence.slot, draw.token);
    outcome.reason = finish_reason(sequence, draw.token);
    goes_on = outcome.reason == FinishReason::kNone && homes_.constraints.observe(sequence.slot, draw.token);
  } while (goes_on && taken <= path_.size());
  path_.resize(taken - 1);
  outcome.path = {static_cast<std::int32_t>(slot.paths.size()), static_cast<std::int32_t>(path_.size())};
  slot.paths.insert(slot.paths.end(), path_.begin(), path_.end());
  stats_.counts().generation_tokens += taken - (outcome.reason == FinishReason::kError ? 1 : 0);
}

void Settlement::settle_draft(Sequence& sequence, const StepRow& row, std::span<const std::int32_t> path,
                              OwedKvWork& owed) {
  const auto accepted = static_cast<std::int32_t>(path.size());
  const std::int32_t linear_end = row.begin + row.linear_count();
  append_path_moves(sequence.hold.pages(), page_size_, linear_end, path, owed.moves);
  Scheduler::set_computed(sequence, linear_end + accepted);
  stats_.counts().drafts.tokens += static_cast<std::uint64_t>(row.draft_count);
  stats_.counts().drafts.accepted += path.size();
  DraftCounts& drafts = stats_.counts().drafts;
  ++drafts.drafts;
  for (std::size_t depth = 0; depth < path.size(); ++depth) {
    ++drafts.accepted_at[std::min(depth, kDraftPositions - 1)];
  }
  sequence.usage.drafted_tokens += row.draft_count;
  sequence.usage.accepted_tokens += accepted;
  const std::int32_t forced = sequence.drafting.forced_flying();
  stats_.counts().constraints.forced_drafted += static_cast<std::uint64_t>(forced);
  stats_.counts().constraints.forced_accepted += static_cast<std::uint64_t>(count_forced(path, forced));
  homes_.drafter.verified(sequence, path);
}

FinishReason Settlement::finish_reason(const Sequence& sequence, TokenId token) const {
  if (homes_.sampler.is_end(sequence.slot, token)) {
    return FinishReason::kStop;
  }
  return sequence.tokens.left() <= 0 ? FinishReason::kLength : FinishReason::kNone;
}

void Settlement::book(StepSlot& slot, const StepResult& result) {
  stats_.count_step(result);
  LastStep& last = stats_.counts().last_step;
  last.rows = slot.plan.token_count();
  stats_.counts().step_tokens.count(last.rows);
  last.expected_ns = homes_.drafter.expected_ns(last.rows);
  homes_.drafter.step_done(last.rows, result);
  last.body_ns = homes_.drafter.last_body_ns();
  for (std::size_t i = 0; i < slot.outcomes.size(); ++i) {
    const RowOutcome& outcome = slot.outcomes[i];
    if (outcome.sequence != kNoSequence) {
      book_row(slot, i, result);
    }
  }
}

void Settlement::book_row(const StepSlot& slot, std::size_t index, const StepResult& result) {
  const StepRow& row = slot.plan.rows[index];
  const RowOutcome& outcome = slot.outcomes[index];
  const Results results = results_of(row, result);
  Sequence& sequence = sequences_[outcome.sequence];
  desk_.begin_service(requests_[sequence.request], slot.begun_at);
  const std::int32_t prompt_left = std::max(0, sequence.tokens.prompt_count() - row.begin);
  stats_.counts().prompt_tokens_computed += static_cast<std::uint64_t>(std::min(prompt_left, row.linear_count()));
  pool(sequence, hidden_of(row, slot.plan, result), row.hidden_count);
  const auto draws = static_cast<std::size_t>(draw_count(row, outcome));
  if (results.size() > draws) {
    report_scores(sequence, results.first(results.size() - draws));
  }
  if (outcome.draws && sequence.tokens.has_output()) {
    report_tokens(sequence, slot.path_of(outcome), results.last(draws));
  } else if (outcome.draws && outcome.reason != FinishReason::kError && sequence.reading.kind() != Reading::kNone) {
    report_reading(sequence, results);
  }
  homes_.scheduler.advance(sequence);
  if (ends_prompt(row, sequence)) {
    desk_.fork_siblings(sequence);
  }
  if (outcome.reason == FinishReason::kError) {
    desk_.finish(sequence, outcome.reason, row.hidden_count > 0 ? kBrokenStates : kBrokenLogits, Fault::kModel);
  } else if (outcome.reason != FinishReason::kNone) {
    desk_.finish(sequence, outcome.reason, {});
  }
}

// Adds the last `count` hidden states of what is computed; of a sequence whose last one is read, that is all there is.
void Settlement::pool(Sequence& sequence, std::span<const float> states, std::int32_t count) {
  std::vector<double>& sum = sequence.reading.sum_;
  for (std::int32_t i = 0; i < count; ++i) {
    const std::size_t width = states.size() / static_cast<std::size_t>(count);
    const std::span<const float> state = states.subspan(static_cast<std::size_t>(i) * width, width);
    sum.resize(width, 0.0);
    std::transform(state.begin(), state.end(), sum.begin(), sum.begin(), [](float x, double y) { return x + y; });
  }
}

// The sequence is computed to its end: reports what was asked about it.
void Settlement::report_reading(Sequence& sequence, Results results) {
  std::vector<float>& reading = desk_.event_of(sequence).reading;
  if (sequence.reading.kind() == Reading::kLabels) {
    reading = results.back().labels;
    return;
  }
  const double count = sequence.reading.kind() == Reading::kMeanHidden ? sequence.tokens.prompt_count() : 1;
  const std::vector<double>& sum = sequence.reading.sum_;
  reading.resize(sum.size());
  std::transform(sum.begin(), sum.end(), reading.begin(), [count](double x) { return static_cast<float>(x / count); });
}

void Settlement::report_scores(Sequence& sequence, Results results) {
  RequestState& state = requests_[sequence.request];
  for (const kernels::SamplingResult& result : results) {
    state.prompt_info.push_back(to_token_info(result, true));
  }
  if (!sequence.wants_rows()) {
    desk_.event_of(sequence).prompt = std::move(state.prompt_info);
  }
}

void Settlement::report_tokens(Sequence& sequence, std::span<const std::int32_t> path, Results draws) {
  const bool with_logprobs = requests_[sequence.request].request.sampling.top_logprobs >= 0;
  Event& event = desk_.event_of(sequence);
  for (std::size_t i = 0; i <= path.size(); ++i) {
    if (const kernels::SamplingResult& draw = draw_along(draws, path, i); !draw.is_broken) {
      event.tokens.push_back(to_token_info(draw, with_logprobs));
    }
  }
}

}  // namespace coppice::engine
