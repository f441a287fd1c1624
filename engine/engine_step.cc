// EngineCore's step: choose, guess, run, commit.
#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "engine/accept.h"
#include "engine/engine_core.h"

namespace coppice::engine {
namespace {

using SteadyTime = std::chrono::steady_clock;

std::uint64_t ns_since(SteadyTime::time_point begin) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(SteadyTime::now() - begin).count());
}

std::string status_line(const absl::Status& status) {
  return "the step failed: " + std::string(status.message());
}

}  // namespace

void EngineCore::run_step() {
  const auto begin = SteadyTime::now();
  const std::uint64_t speculation_before = stats_.speculation_ns;
  plan_.clear_rows();
  scheduler_.select(plan_.copies, stats_);
  for (const SequenceSlot slot : scheduler_.unfit()) {
    finish(sequences_[slot], FinishReason::kError, "the KV memory cannot hold this sequence; raise --kv-memory");
  }
  propose_drafts();
  builder_.build(scheduler_.order(), plan_);
  stats_.plan_ns += ns_since(begin) - (stats_.speculation_ns - speculation_before);
  if (plan_.empty()) {
    // Nothing is in flight and nothing can be planned: somebody must go, or all would wait for ever.
    const SequenceSlot oldest = scheduler_.oldest();
    if (scheduler_.unfit().empty() && oldest != kNoSequence) {
      finish(sequences_[oldest], FinishReason::kError, "the engine found no way to run this sequence");
    }
    return;
  }
  ++stats_.steps;
  if (const absl::Status status = executor_->submit(plan_); !status.ok()) {
    fail_step(status_line(status));
    return;
  }
  // While the device works:
  const auto submitted = SteadyTime::now();
  send_news();
  if (speculator_) {
    const auto teaching = SteadyTime::now();
    teach_beside_step();
    stats_.speculation_ns += ns_since(teaching);
  }
  const absl::StatusOr<StepResult> result = executor_->collect();
  stats_.in_flight_ns += ns_since(submitted);
  plan_.moves.clear();
  if (!result.ok()) {
    fail_step(status_line(result.status()));
    return;
  }
  count_step(*result);
  learn_from_step(*result);
  COPPICE_CHECK(result->results.size() == plan_.logits_rows.size(), "one result a logits row");
  for (const StepRow& row : plan_.rows) {
    commit(row, result->results.subspan(static_cast<std::size_t>(row.logits_begin),
                                        static_cast<std::size_t>(row.logits_count)));
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
}

void EngineCore::fail_step(const std::string& error) {
  for (const StepRow& row : plan_.rows) {
    finish(sequences_[row.slot], FinishReason::kError, error);
  }
}

void EngineCore::commit(const StepRow& row, std::span<const kernels::SamplingResult> results) {
  Sequence& sequence = sequences_[row.slot];
  leave_waiting_room(requests_[sequence.request]);
  const std::int32_t prompt_left = std::max(0, sequence.prompt_count - row.begin);
  stats_.prompt_tokens_computed += static_cast<std::uint64_t>(std::min(prompt_left, row.linear_count()));
  sequence.computed = row.begin + row.linear_count();
  const bool draws = sequence.computed == sequence.token_count();
  const auto draw_count = static_cast<std::size_t>(draws ? 1 + row.draft_count : 0);
  if (sequence.wants_scores()) {
    commit_scores(sequence, results.first(results.size() - draw_count));
  }
  FinishReason reason = FinishReason::kNone;
  if (draws) {
    reason = commit_draws(sequence, row, results.last(draw_count));
  }
  scheduler_.advance(sequence);
  if (row.begin < sequence.prompt_count && sequence.computed >= sequence.prompt_count) {
    fork_siblings(sequence);
  }
  if (reason != FinishReason::kNone) {
    finish(sequence, reason, {});
  }
}

void EngineCore::commit_scores(Sequence& sequence, std::span<const kernels::SamplingResult> results) {
  RequestState& state = requests_[sequence.request];
  for (const kernels::SamplingResult& result : results) {
    state.prompt_info.push_back(to_token_info(result, true));
  }
  sequence.scored += static_cast<std::int32_t>(results.size());
  if (!sequence.wants_scores()) {
    event_of(sequence).prompt = std::move(state.prompt_info);
  }
}

// results: the draw after the last token, then one after each draft node.
FinishReason EngineCore::commit_draws(Sequence& sequence, const StepRow& row,
                                      std::span<const kernels::SamplingResult> results) {
  const SamplingParameters& sampling = requests_[sequence.request].request.sampling;
  if (sampling.max_tokens == 0) {
    return FinishReason::kLength;  // only the prompt was asked about
  }
  accept_draft(sequence.draft, results, path_);
  Event& event = event_of(sequence);
  const std::int32_t linear_end = sequence.computed;
  FinishReason reason = FinishReason::kNone;
  std::size_t accepted = 0;
  for (;;) {
    const std::size_t at = accepted == 0 ? 0 : 1 + static_cast<std::size_t>(path_[accepted - 1]);
    const TokenId token = results[at].token;
    sequence.tokens.push_back(token);
    sampler_.observe(sequence.slot, token);
    event.tokens.push_back(to_token_info(results[at], sampling.top_logprobs >= 0));
    reason = finish_reason(sequence, token);
    if (reason != FinishReason::kNone || accepted == path_.size()) {
      break;
    }
    ++accepted;
  }
  const std::span<const std::int32_t> path = std::span<const std::int32_t>(path_).first(accepted);
  append_path_moves(sequence.pages, limits_.page_size, linear_end, path, plan_.moves);
  const auto gained = static_cast<std::int32_t>(accepted);
  sequence.computed = linear_end + gained;
  stats_.generation_tokens += accepted + 1;
  if (speculator_) {
    stats_.draft_tokens += static_cast<std::uint64_t>(row.draft_count);
    stats_.accepted_tokens += accepted;
    sequence.usage.accepted_prediction_tokens += gained;
    sequence.usage.rejected_prediction_tokens += row.draft_count - gained;
    if (row.draft_count > 0) {
      speculator_->verified(sequence.slot, sequence.draft, path);
    }
  }
  return reason;
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

}  // namespace coppice::engine
