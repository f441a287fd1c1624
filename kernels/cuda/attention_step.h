// What attention needs beside its kernel (attention.h): the step's plan on the device, scratch for partial results, and
// the shape of the launch.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/attention_plan.h"
#include "kernels/backend.h"
#include "kernels/cuda/kv_cache.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/staging.h"

namespace coppice::kernels::cuda {

// Owner: the backend. Thread: its caller.
class AttentionStep {
 public:
  // Blocks of attention that the whole GPU holds at once for such a cache. ERRORS: Internal (the kernel does not fit).
  static absl::StatusOr<int> resident_blocks(const KvGeometry& geometry, const GpuFacts& gpu);

  // Brings the plan to the device; it serves all layers of the step.
  void prepare(const AttentionPlan& plan, const AttentionParameters& parameters, Staging& staging, cudaStream_t stream);
  // blocks: of the launch, at most resident_blocks(). REQUIRES: `plan` is the prepared one.
  void run(const AttentionPlan& plan, const AttentionParameters& parameters, const Matrix& query,
           const CudaKvCache& cache, std::int32_t layer, const Matrix& out, int blocks, cudaStream_t stream);

 private:
  std::vector<std::byte> packed_;
  Buffer plan_;
  Buffer partials_;
  Buffer progress_;
};

}  // namespace coppice::kernels::cuda
