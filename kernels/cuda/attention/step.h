// What attention needs beside its kernel (attention.h) and the plan (step_block.h): scratch for partial results,
// counters, the shape of the launch.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/attention_plan.h"
#include "kernels/backend.h"
#include "kernels/cuda/cache/kv_cache.h"
#include "kernels/cuda/runtime.h"

namespace coppice::kernels::cuda {

// Bytes of a packed plan that steps within `limits` stay below, but for plans cut in more pieces than is usual.
std::size_t attention_plan_bytes_most(const StepLimits& limits, int blocks);

// Owner: the backend. Thread: its caller.
class AttentionStep {
 public:
  // Blocks of attention that the whole GPU holds at once for such a cache. ERRORS: Internal (the kernel does not fit).
  static absl::StatusOr<int> resident_blocks(const KvGeometry& geometry, const GpuFacts& gpu);

  // blocks: of launches to come. ERRORS: ResourceExhausted.
  absl::Status reserve(const StepLimits& limits, int blocks, cudaStream_t stream);
  // Room for what the plan needs. True: memory had to move.
  bool prepare(const AttentionPlan& plan, const AttentionParameters& parameters, cudaStream_t stream);
  // Enqueues one layer of the plan that was prepared. packed: it, on the device. blocks: of the launch, at most
  // resident_blocks(). Returns the cudaError_t of the launch.
  int run(const void* packed, const AttentionParameters& parameters, const Matrix& query, const CudaKvCache& cache,
          std::int32_t layer, const Matrix& out, int blocks, cudaStream_t stream) const;

 private:
  Buffer partials_;
  Buffer progress_;
};

}  // namespace coppice::kernels::cuda
