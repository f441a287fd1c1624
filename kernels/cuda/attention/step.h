// The memory and the launch of a step's attention: scratch for partial results and counters. The plan is in the step
// block (step/block.h).
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "kernels/attention_plan.h"
#include "kernels/cuda/cache/kv_cache.h"
#include "kernels/cuda/launch_stream.h"
#include "kernels/cuda/runtime.h"
#include "kernels/step.h"

namespace coppice::kernels::cuda {

// Returns a bound on the bytes of packed plans of steps within `limits`; only a plan cut in unusually many pieces
// exceeds it.
std::size_t attention_plan_bytes_most(const StepLimits& limits);

// Returns the partial slots to reserve for steps within `limits`: at least one a row, at most one for each row and
// split besides. Plans that are bounded by it (PlanOptions::partials_most) need no more.
std::int32_t attention_partials_most(const StepLimits& limits, MemoryFacts memory);

// Owner: the backend. Thread: its caller.
class AttentionStep {
 public:
  // partials: of attention_partials_most(). ERRORS: ResourceExhausted.
  absl::Status reserve(const StepLimits& limits, std::int32_t partials, cudaStream_t stream);
  // Allocates what the plan needs beyond what is reserved. Returns true if memory had to move.
  bool prepare(const AttentionPlan& plan, const AttentionParameters& parameters, cudaStream_t stream);
  // Enqueues one layer of the prepared plan. Returns the cudaError_t of the launch.
  int run(const LoadedAttention& attention, const Matrix& query, const CudaKvCache& cache, std::int32_t layer,
          const Matrix& out, LaunchStream stream) const;

 private:
  Buffer partials_;
  Buffer progress_;
};

}  // namespace coppice::kernels::cuda
