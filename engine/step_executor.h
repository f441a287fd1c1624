// StepExecutor: the seam between what runs and how. The engine plans; an executor runs the plan on the model: the
// Runner, or a truth oracle in tests. submit() and collect() are apart so that a device may work between them;
// prepare() does what it can for the next step meanwhile, before its tokens are known.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/step_plan.h"
#include "kernels/sampling.h"

namespace coppice::engine {

// What a step brought back. The results are valid until the next collect().
struct StepResult {
  std::span<const kernels::SamplingResult> results;  // one a logits row
  std::int64_t keys_attended = 0;                    // AttentionPlan's counts
  std::int64_t keys_read = 0;
  std::int32_t shared_items = 0;
  std::int32_t depth = 0;
  // The engine's own thread: planning; computing the forward pass, or enqueueing it and the draws on a device that
  // works by itself; drawing, or waiting for such a device.
  std::uint64_t plan_ns = 0;
  std::uint64_t forward_ns = 0;
  std::uint64_t attention_ns = 0;  // part of forward_ns; 0 where the device does not report it
  std::uint64_t sample_ns = 0;
  std::uint64_t device_ns = 0;  // from the first to the last operation of a device that works by itself, else 0
};

// Owner: the engine. Thread: the engine's. At most one step between submit() and collect().
class StepExecutor {
 public:
  virtual ~StepExecutor() = default;
  // submit() returns while the device still works: what the caller does until collect() costs no time.
  virtual bool is_asynchronous() const { return false; }
  // Between submit() and collect(): the device has not finished yet. False where that is unknown.
  virtual bool is_working() const { return false; }
  // Does what of the next submit() can be done while a step runs. REQUIRES: between submit() and collect(), and
  // submit() only starts a step. ENSURES: nothing of `plan` is read after the return; a plan with the same number that
  // is submitted later differs from it in `tokens` and in how they are drawn alone.
  virtual void prepare(const StepPlan& /*plan*/) {}
  // Starts the step. REQUIRES: no step is between submit() and collect(); `plan` stays as and where it is until
  // collect() returns. ERRORS: any; nothing was done then, not even the plan's moves and copies.
  virtual absl::Status submit(const StepPlan& plan) = 0;
  // Waits for the step. ERRORS: any; moves and copies were done, the KV and results of the plan's rows are lost.
  virtual absl::StatusOr<StepResult> collect() = 0;
};

}  // namespace coppice::engine
