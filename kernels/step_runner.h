// StepRunner: takes a step to a device and its draws back, by prepare, run, sample, finish. One of the three interfaces
// of a Backend (backend.h). A step may be prepared while the step before it runs, before its tokens are known; a device
// may pad steps and replay recordings of them. The public functions check every contract once; a device implements the
// private virtual functions and trusts its inputs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/types.h"
#include "kernels/attention_plan.h"
#include "kernels/sampling.h"
#include "kernels/step.h"
#include "kernels/tensor.h"

namespace coppice::kernels {

// The right to run, once, the step that prepare() packed. Move-only; empty when default-constructed or moved from.
// Invalid after the next prepare() of the same StepRunner.
class PreparedStep {
 public:
  PreparedStep() = default;
  PreparedStep(PreparedStep&& other) noexcept;
  PreparedStep& operator=(PreparedStep&& other) noexcept;
  PreparedStep(const PreparedStep&) = delete;
  PreparedStep& operator=(const PreparedStep&) = delete;

  explicit operator bool() const { return number_ != 0; }

 private:
  friend class StepRunner;
  std::uint64_t number_ = 0;  // of the prepare() that made it; 0: empty
  StepProgram program_ = StepProgram::kNone;
  LoadedAttention attention_;
};

// Owner: the Backend. Thread: one caller at a time. At most one step between run() and finish().
class StepRunner {
 public:
  virtual ~StepRunner() = default;
  StepRunner(const StepRunner&) = delete;
  StepRunner& operator=(const StepRunner&) = delete;

  // Allocates memory for steps within `limits`, so that none of them allocates, and names the caller. A larger step is
  // not refused; it allocates. ERRORS: ResourceExhausted.
  absl::StatusOr<StepProgram> reserve(const StepLimits& limits);

  // Returns the partial slots that a step of this program may use without allocating: what its plans are bounded by
  // (PlanOptions::partials_most). REQUIRES: reserve() returned `program`.
  virtual std::int32_t partials_most(StepProgram program) const;

  // Packs a step without its tokens; may be called while an earlier step runs. The arrays may be reused when this
  // returns. REQUIRES: one slot per row of the plan; the plan is unchanged until run() returns.
  PreparedStep prepare(StepProgram program, const StepArrays& arrays, const AttentionPlan& plan,
                       const AttentionParameters& parameters);
  // Copies the step to the device, then enqueues the operations that `enqueue` calls, or replays a recording of them
  // without calling it. REQUIRES: `step` came from the last prepare(); one token per row; for equal (padded) numbers of
  // rows one program enqueues the same operations on the same memory, and nothing that waits, allocates or copies from
  // the host.
  void run(PreparedStep&& step, std::span<const TokenId> tokens, absl::FunctionRef<void(const LoadedStep&)> enqueue);
  // Enqueues the step's draws and ends the step: one row of `rows` per row of logits (f32 [logits_rows, vocab]; may be
  // overwritten). REQUIRES: `rows` is unchanged until finish(); memory that its spans point to is unchanged until
  // finish() or, on an asynchronous device, until this returns.
  void sample(const Matrix& logits, std::span<const SamplingRow> rows);
  // Waits for the step that sample() ended and returns its results.
  StepResults finish();

  // Loads a plan without a step: for benchmarks and tests. Valid until the next prepare(). REQUIRES: the plan is
  // unchanged as long.
  LoadedAttention load_attention(const AttentionPlan& plan, const AttentionParameters& parameters);

  virtual bool is_asynchronous() const = 0;          // the caller's thread is free between sample() and finish()
  virtual bool is_working() const { return false; }  // after sample(): finish() would wait
  virtual StepCounts counts() const { return {}; }

 protected:
  StepRunner() = default;

 private:
  virtual absl::Status do_reserve(StepProgram program, const StepLimits& limits) = 0;
  virtual void do_prepare(StepProgram program, const StepArrays& arrays, const AttentionPlan& plan,
                          const AttentionParameters& parameters) = 0;
  // Loads what do_prepare() packed last, with its tokens (none for a plan alone).
  virtual LoadedStep do_load(std::span<const TokenId> tokens, const LoadedAttention& attention) = 0;
  virtual void do_run(StepProgram program, const LoadedStep& step,
                      absl::FunctionRef<void(const LoadedStep&)> enqueue) = 0;
  virtual void do_sample(const Matrix& logits, std::span<const SamplingRow> rows) = 0;
  // Returns StepResults::device_ns.
  virtual std::uint64_t do_finish(std::span<const SamplingRow> rows, std::span<SamplingResult> draws) = 0;

  std::uint32_t programs_ = 0;         // named so far
  std::uint64_t prepared_ = 0;         // number of the last prepare()
  bool is_sampled_ = false;            // between sample() and finish()
  std::span<const SamplingRow> rows_;  // given to sample()
  std::vector<SamplingResult> draws_;  // of the last finish(); grows to the largest step
};

}  // namespace coppice::kernels
