// EngineCore's step: choose, guess, run, settle, book.
//
// Where submit() only starts a step, the next one is planned while it runs. That needs no token of it: once a step is
// submitted its sequences are taken for what they will be when it is over (take_for_done), one unknown token longer,
// and chosen from and written down as such. When the tokens come they are put in their places (settle, fill_in) and the
// next step goes off; only then is the last one booked: events, prefix cache, forks, ends. What is not known ahead:
//   - who ends with the step, but by length: such a sequence's row of the next step is computed for nobody;
//   - how much of a draft is accepted: the step behind one that carries drafts is chosen ahead, but not written;
//   - whether the next step carries drafts: when it does it is written anew, of the same choice;
//   - who would have to be set back for want of pages or places: the next step is then chosen when the last is booked;
//   - what forks hold: they take the pages that their parent has when its prompt is booked, so then too.
#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "base/spin.h"
#include "engine/accept.h"
#include "engine/engine_core.h"

namespace coppice::engine {
namespace {

using SteadyTime = std::chrono::steady_clock;

std::uint64_t ns_since(SteadyTime::time_point begin) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(SteadyTime::now() - begin).count());
}

std::span<const kernels::SamplingResult> results_of(const StepRow& row, const StepResult& result) {
  return result.results.subspan(static_cast<std::size_t>(row.logits_begin), static_cast<std::size_t>(row.logits_count));
}

}  // namespace

// Nothing is in flight: plans and starts a step.
void EngineCore::begin_step() {
  choose(false);
  propose_drafts();
  write_plan();
  if (next_.empty()) {
    is_chosen_ = false;
    // Nothing is in flight and nothing can be planned: somebody must go, or all would wait for ever.
    const SequenceSlot oldest = scheduler_.oldest();
    if (scheduler_.unfit().empty() && oldest != kNoSequence) {
      finish(sequences_[oldest], FinishReason::kError, "the engine found no way to run this sequence");
    }
    return;
  }
  if (const absl::Status status = submit_next(); !status.ok()) {
    fail_rows(next_, status);
  } else if (executor_->is_asynchronous()) {
    take_for_done(flying_);
  }
}

// False: this cannot be said before the step that runs is over.
bool EngineCore::choose(bool ahead) {
  const auto begin = SteadyTime::now();
  const Scheduler::Choice choice = scheduler_.select({.again = is_chosen_, .ahead = ahead});
  next_.copies.insert(next_.copies.end(), choice.copies.begin(), choice.copies.end());
  is_chosen_ = true;
  for (const SequenceSlot slot : scheduler_.unfit()) {
    finish(sequences_[slot], FinishReason::kError, "the KV memory cannot hold this sequence; raise --kv-memory");
  }
  stats_.plan_ns += ns_since(begin);
  return choice.is_complete;
}

void EngineCore::write_plan() {
  const auto begin = SteadyTime::now();
  next_.clear_rows();
  builder_.build(scheduler_.order(), next_);
  stats_.plan_ns += ns_since(begin);
}

// Between submit() and collect(). What takes time here costs nothing as long as the device works.
void EngineCore::work_beside_step() {
  send_news();
  const bool ahead = is_foreseeable_;
  bool is_learning = speculator_ != nullptr;
  const auto plan = [&] {
    take_commands();
    plan_ahead();
    send_news();  // of what was refused or cancelled
    is_learning = speculator_ != nullptr;
  };
  if (ahead) {
    plan();
  }
  const auto learn = [&](auto&& teach) {
    const auto begin = SteadyTime::now();
    is_learning = teach();
    stats_.speculation_ns += ns_since(begin);
  };
  if (speculator_) {
    learn([this] { return teach_beside(); });
  }
  while (executor_->is_working()) {
    if (ahead && !commands_.is_empty() && has_time_to_plan()) {
      plan();
    } else if (is_learning) {
      learn([this] { return teach_slice(); });
    } else if (ahead) {  // a command may come yet
      const auto begin = SteadyTime::now();
      base::spin_a_little();
      stats_.sample_ns += ns_since(begin);
    } else {
      return;
    }
  }
}

// Whether the next step can be planned once more before the one that runs is over, by what such steps took. Who comes
// later waits for the step after.
bool EngineCore::has_time_to_plan() const {
  const double step_ns =
      step_cost_.known() ? step_cost_.body_ns(flying_.token_count()) : static_cast<double>(last_step_ns_);
  return last_step_ns_ == 0 || static_cast<double>(ns_since(submitted_) + planning_ns_) < step_ns;
}

void EngineCore::plan_ahead() {
  const auto planning = SteadyTime::now();
  choose_and_write_ahead();
  planning_ns_ = std::max(ns_since(planning), planning_ns_ - planning_ns_ / 8);  // the longest of the last ones
}

void EngineCore::choose_and_write_ahead() {
  is_written_ = false;
  is_planned_ = choose(true);
  if (!is_planned_ || !flying_.draft_parents.empty()) {
    return;
  }
  write_plan();
  if (!next_.empty()) {
    const auto begin = SteadyTime::now();
    executor_->prepare(next_);
    stats_.plan_ns += ns_since(begin);
    is_written_ = true;
  }
}

// ERRORS: of the executor; the plan stays next_ and nothing was done.
absl::Status EngineCore::submit_next() {
  ++stats_.steps;
  is_chosen_ = false;
  is_planned_ = false;
  is_written_ = false;
  absl::Status status = executor_->submit(next_);
  if (status.ok()) {
    std::swap(flying_, next_);
    next_.clear();
    is_flying_ = true;
    submitted_ = SteadyTime::now();
  }
  return status;
}

// From now on the plan's sequences are as they will be when it was run, if no draft is accepted, but for what is drawn:
// of that only the place of one token is known.
void EngineCore::take_for_done(StepPlan& plan) {
  is_foreseeable_ = executor_->is_asynchronous();
  outcomes_.assign(plan.rows.size(), {});
  for (std::size_t i = 0; i < plan.rows.size(); ++i) {
    StepRow& row = plan.rows[i];
    if (!sequences_.is_live(row.slot)) {  // it ended while this row was planned
      row.slot = kNoSequence;
      continue;
    }
    Sequence& sequence = sequences_[row.slot];
    sequence.tokens.flight_row = static_cast<std::int32_t>(i);
    scheduler_.set_computed(sequence, row.begin + row.linear_count());
    std::swap(sequence.drafting.flying, sequence.drafting.draft);
    sequence.drafting.draft.clear();
    Scheduler::leave_out(sequence);
    outcomes_[i].draws = sequence.computed() == sequence.token_count();
    if (sequence.wants_scores()) {
      sequence.tokens.scored += row.logits_count - (outcomes_[i].draws ? 1 + row.draft_count : 0);
    }
    const bool ends_prompt =
        row.begin < sequence.tokens.prompt_count && sequence.computed() >= sequence.tokens.prompt_count;
    if (ends_prompt && requests_[sequence.request].live_choices > 1) {
      is_foreseeable_ = false;
    }
  }
  for (std::size_t i = 0; is_foreseeable_ && i < plan.rows.size(); ++i) {
    if (outcomes_[i].draws) {
      await_token(sequences_[plan.rows[i].slot]);
    }
  }
}

// One token longer, unless the next one is the last, whatever it is.
void EngineCore::await_token(Sequence& sequence) {
  const SamplingParameters& sampling = requests_[sequence.request].request.sampling;
  if (sequence.output_count() + 1 < sampling.max_tokens && sequence.token_count() + 1 < limits_.model_tokens_max) {
    sequence.tokens.ids.push_back(kNoToken);
    sequence.tokens.awaits_token = true;
  }
}

// Waits for the step that runs, starts the one that was planned meanwhile, and books the first.
void EngineCore::finish_step() {
  const absl::StatusOr<StepResult> result = executor_->collect();
  stats_.in_flight_ns += ns_since(submitted_);
  is_flying_ = false;
  std::swap(landed_, flying_);
  if (!executor_->is_asynchronous() && result.ok()) {
    take_for_done(landed_);
  }
  for (const StepRow& row : landed_.rows) {
    if (row.slot != kNoSequence) {
      sequences_[row.slot].tokens.flight_row = -1;
    }
  }
  if (!result.ok()) {
    is_planned_ = false;
    fail_rows(landed_, result.status());
    return;
  }
  COPPICE_CHECK(result->results.size() == landed_.logits_rows.size(), "one result a logits row");
  settle(*result);
  absl::Status started;
  if (is_planned_) {
    started = start_planned();
  }
  book(*result);
  if (is_flying_) {
    take_for_done(flying_);
  } else if (!started.ok()) {
    fail_rows(next_, started);
  }
}

// The step that was chosen ahead, now that its tokens are there: with drafts if there are any worth it. None is started
// when all of its sequences have ended. ERRORS: as submit_next().
absl::Status EngineCore::start_planned() {
  std::size_t for_nobody = 0;
  for (std::size_t i = 0; i < landed_.rows.size(); ++i) {
    if (outcomes_[i].reason != FinishReason::kNone && sequences_[landed_.rows[i].slot].in_step()) {
      Scheduler::leave_out(sequences_[landed_.rows[i].slot]);
      ++for_nobody;
    }
  }
  if (is_written_ && for_nobody == next_.rows.size()) {
    return absl::OkStatus();
  }
  if (propose_drafts() || !is_written_) {
    write_plan();
  } else {
    builder_.fill_in(next_);
  }
  return next_.empty() ? absl::OkStatus() : submit_next();
}

// Every sequence learns its tokens, and whether it has ended.
void EngineCore::settle(const StepResult& result) {
  paths_.clear();
  for (std::size_t i = 0; i < landed_.rows.size(); ++i) {
    const StepRow& row = landed_.rows[i];
    if (row.slot == kNoSequence || !outcomes_[i].draws) {
      continue;
    }
    Sequence& sequence = sequences_[row.slot];
    const auto draw_count = static_cast<std::size_t>(1 + row.draft_count);
    if (requests_[sequence.request].request.sampling.max_tokens == 0) {
      outcomes_[i].reason = FinishReason::kLength;  // only the prompt was asked about
    } else {
      settle_draws(sequence, row, outcomes_[i], results_of(row, result).last(draw_count));
    }
  }
}

// results: the draw after the last token, then one after each draft node.
void EngineCore::settle_draws(Sequence& sequence, const StepRow& row, RowOutcome& outcome,
                              std::span<const kernels::SamplingResult> results) {
  if (sequence.tokens.awaits_token) {
    sequence.tokens.ids.pop_back();
    sequence.tokens.awaits_token = false;
  }
  accept_draft(sequence.drafting.flying, results, path_);
  const std::int32_t linear_end = row.begin + row.linear_count();
  std::size_t accepted = 0;
  for (;;) {
    const std::size_t at = accepted == 0 ? 0 : 1 + static_cast<std::size_t>(path_[accepted - 1]);
    const TokenId token = results[at].token;
    sequence.tokens.ids.push_back(token);
    sampler_.observe(sequence.slot, token);
    outcome.reason = finish_reason(sequence, token);
    if (outcome.reason != FinishReason::kNone || accepted == path_.size()) {
      break;
    }
    ++accepted;
  }
  const std::span<const std::int32_t> path = std::span<const std::int32_t>(path_).first(accepted);
  outcome.path_begin = static_cast<std::int32_t>(paths_.size());
  outcome.path_count = static_cast<std::int32_t>(accepted);
  paths_.insert(paths_.end(), path.begin(), path.end());
  stats_.generation_tokens += accepted + 1;
  if (row.draft_count == 0) {
    return;
  }
  append_path_moves(sequence.hold.pages(), limits_.page_size, linear_end, path, next_.moves);
  scheduler_.set_computed(sequence, linear_end + outcome.path_count);
  stats_.draft_tokens += static_cast<std::uint64_t>(row.draft_count);
  stats_.accepted_tokens += accepted;
  sequence.usage.accepted_prediction_tokens += outcome.path_count;
  sequence.usage.rejected_prediction_tokens += row.draft_count - outcome.path_count;
  if (accepted > 0) {
    sequence.drafting.misses = 0;
  } else {
    sequence.miss_draft();
  }
  speculator_->verified(sequence.slot, sequence.drafting.flying, path);
  sequence.drafting.flying.clear();
}

FinishReason EngineCore::finish_reason(const Sequence& sequence, TokenId token) const {
  if (sampler_.is_end(sequence.slot, token)) {
    return FinishReason::kStop;
  }
  const SamplingParameters& sampling = requests_[sequence.request].request.sampling;
  if (sequence.output_count() >= sampling.max_tokens || sequence.token_count() >= limits_.model_tokens_max) {
    return FinishReason::kLength;
  }
  return FinishReason::kNone;
}

void EngineCore::book(const StepResult& result) {
  count_step(result);
  learn_from_step(result);
  for (std::size_t i = 0; i < landed_.rows.size(); ++i) {
    if (landed_.rows[i].slot != kNoSequence) {
      book_row(landed_.rows[i], outcomes_[i], results_of(landed_.rows[i], result));
    }
  }
}

void EngineCore::count_step(const StepResult& result) {
  stats_.kv_tokens_attended += static_cast<std::uint64_t>(result.keys_attended);
  stats_.kv_tokens_read += static_cast<std::uint64_t>(result.keys_read);
  stats_.shared_groups = result.shared_items;
  stats_.tree_depth = result.depth;
  stats_.plan_ns += result.plan_ns;
  stats_.forward_ns += result.forward_ns;
  stats_.sample_ns += result.sample_ns;
  stats_.device_ns += result.device_ns;
  last_step_ns_ = result.device_ns > 0 ? result.device_ns : result.forward_ns + result.sample_ns;
}

void EngineCore::book_row(const StepRow& row, const RowOutcome& outcome,
                          std::span<const kernels::SamplingResult> results) {
  Sequence& sequence = sequences_[row.slot];
  leave_waiting_room(requests_[sequence.request]);
  const std::int32_t prompt_left = std::max(0, sequence.tokens.prompt_count - row.begin);
  stats_.prompt_tokens_computed += static_cast<std::uint64_t>(std::min(prompt_left, row.linear_count()));
  const auto draw_count = static_cast<std::size_t>(outcome.draws ? 1 + row.draft_count : 0);
  if (results.size() > draw_count) {
    report_scores(sequence, results.first(results.size() - draw_count));
  }
  if (outcome.draws && requests_[sequence.request].request.sampling.max_tokens > 0) {
    report_tokens(sequence, outcome, results.last(draw_count));
  }
  scheduler_.advance(sequence);
  if (row.begin < sequence.tokens.prompt_count && sequence.computed() >= sequence.tokens.prompt_count) {
    fork_siblings(sequence);
  }
  if (outcome.reason != FinishReason::kNone) {
    finish(sequence, outcome.reason, {});
  }
}

void EngineCore::report_scores(Sequence& sequence, std::span<const kernels::SamplingResult> results) {
  RequestState& state = requests_[sequence.request];
  for (const kernels::SamplingResult& result : results) {
    state.prompt_info.push_back(to_token_info(result, true));
  }
  if (!sequence.wants_scores()) {
    event_of(sequence).prompt = std::move(state.prompt_info);
  }
}

// results: as settle_draws() had them.
void EngineCore::report_tokens(Sequence& sequence, const RowOutcome& outcome,
                               std::span<const kernels::SamplingResult> results) {
  const bool with_logprobs = requests_[sequence.request].request.sampling.top_logprobs >= 0;
  Event& event = event_of(sequence);
  event.tokens.push_back(to_token_info(results[0], with_logprobs));
  for (std::int32_t i = 0; i < outcome.path_count; ++i) {
    const std::int32_t node = paths_[static_cast<std::size_t>(outcome.path_begin + i)];
    event.tokens.push_back(to_token_info(results[static_cast<std::size_t>(1 + node)], with_logprobs));
  }
}

// Ends every sequence of a plan that could not be run, or was lost.
void EngineCore::fail_rows(StepPlan& plan, const absl::Status& status) {
  const std::string error = "the step failed: " + std::string(status.message());
  for (const StepRow& row : plan.rows) {
    if (sequences_.is_live(row.slot)) {
      finish(sequences_[row.slot], FinishReason::kError, error);
    }
  }
  plan.clear_rows();
}

}  // namespace coppice::engine
