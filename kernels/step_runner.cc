// The contract of StepRunner, checked once for all devices.
#include "kernels/step_runner.h"

#include <limits>
#include <utility>

#include "base/check.h"

namespace coppice::kernels {

PreparedStep::PreparedStep(PreparedStep&& other) noexcept {
  *this = std::move(other);
}

PreparedStep& PreparedStep::operator=(PreparedStep&& other) noexcept {
  number_ = std::exchange(other.number_, 0);
  program_ = other.program_;
  attention_ = other.attention_;
  return *this;
}

absl::StatusOr<StepProgram> StepRunner::reserve(const StepLimits& limits) {
  COPPICE_CHECK(limits.tokens > 0 && limits.logits > 0 && limits.sequences > 0 && limits.sequence_tokens > 0 &&
                    limits.page_size > 0 && limits.vocab > 0 && limits.head_dim > 0 && limits.key_heads > 0 &&
                    limits.query_heads % limits.key_heads == 0 && limits.workers > 0,
                "reserve: limits are positive");
  const StepProgram program{++programs_};
  if (absl::Status status = do_reserve(program, limits); !status.ok()) {
    return status;
  }
  draws_.reserve(static_cast<std::size_t>(limits.logits));
  return program;
}

std::int32_t StepRunner::partials_most(StepProgram) const {
  return std::numeric_limits<std::int32_t>::max();
}

PreparedStep StepRunner::prepare(StepProgram program, const StepArrays& arrays, const AttentionPlan& plan,
                                 const AttentionParameters& parameters) {
  COPPICE_CHECK(static_cast<std::int64_t>(arrays.slots.size()) == plan.row_count, "prepare: one slot per row");
  do_prepare(program, arrays, plan, parameters);
  PreparedStep step;
  step.number_ = ++prepared_;
  step.program_ = program;
  step.attention_ = {.plan = &plan, .parameters = parameters};
  return step;
}

void StepRunner::run(PreparedStep&& step, std::span<const TokenId> tokens,
                     absl::FunctionRef<void(const LoadedStep&)> enqueue) {
  const PreparedStep taken = std::move(step);
  COPPICE_CHECK(taken.number_ != 0 && taken.number_ == prepared_, "run: the step of the last prepare()");
  COPPICE_CHECK(static_cast<std::int64_t>(tokens.size()) == taken.attention_.plan->row_count, "run: one token per row");
  ++prepared_;  // nothing is prepared now
  do_run(taken.program_, do_load(tokens, taken.attention_), enqueue);
}

void StepRunner::sample(const Matrix& logits, std::span<const SamplingRow> rows) {
  COPPICE_CHECK(rows.empty() || (logits.dtype == ComputeType::kF32 && logits.columns > 0 && logits.data != nullptr &&
                                 (logits.rows == 1 || logits.stride >= logits.columns)),
                "sample: bad view");
  COPPICE_CHECK(logits.rows == static_cast<std::int64_t>(rows.size()), "sample: row counts differ");
  COPPICE_CHECK(!is_sampled_, "sample: finish() comes first");
  is_sampled_ = true;
  rows_ = rows;
  do_sample(logits, rows);
}

StepResults StepRunner::finish() {
  COPPICE_CHECK(is_sampled_, "finish: sample() comes first");
  is_sampled_ = false;
  draws_.resize(rows_.size());
  const std::uint64_t device_ns = do_finish(rows_, draws_);
  return {.draws = draws_, .device_ns = device_ns};
}

LoadedAttention StepRunner::load_attention(const AttentionPlan& plan, const AttentionParameters& parameters) {
  ++prepared_;
  do_prepare(StepProgram::kNone, {}, plan, parameters);
  return do_load({}, {.plan = &plan, .parameters = parameters}).attention;
}

}  // namespace coppice::kernels
