// What attention needs beside its kernel (attention.h) and the plan (step_block.h): scratch for partial results,
// counters, the shape of the launch.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "kernels/attention_plan.h"
#include "kernels/cuda/cache/kv_cache.h"
#include "kernels/cuda/launch_stream.h"
#include "kernels/cuda/runtime.h"
#include "kernels/step.h"

namespace coppice::kernels::cuda {

// Bytes of a packed plan that steps within `limits` stay below, unless a plan is cut in unusually many pieces.
std::size_t attention_plan_bytes_most(const StepLimits& limits);

// Owner: the backend. Thread: its caller.
class AttentionStep {
 public:
  // ERRORS: ResourceExhausted.
  absl::Status reserve(const StepLimits& limits, cudaStream_t stream);
  // Room for what the plan needs. True: memory had to move.
  bool prepare(const AttentionPlan& plan, const AttentionParameters& parameters, cudaStream_t stream);
  // Enqueues one layer of the plan that was prepared. Returns the cudaError_t of the launch.
  int run(const LoadedAttention& attention, const Matrix& query, const CudaKvCache& cache, std::int32_t layer,
          const Matrix& out, LaunchStream stream) const;

 private:
  Buffer partials_;
  Buffer progress_;
};

}  // namespace coppice::kernels::cuda
