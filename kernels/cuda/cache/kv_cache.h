// The KV pages of all layers in GPU memory, laid out as kv_layout.h says.
#pragma once

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"
#include "kernels/device.h"

namespace coppice::kernels::cuda {

// Owner: the engine's pool. Values (not keys) are stored finite, as on the CPU.
class CudaKvCache : public KvCache {
 public:
  CudaKvCache(const KvGeometry& geometry, int workers, std::int32_t stages, Buffer memory)
      : KvCache(geometry, workers, kGpuPlanCosts),
        layout_(kv_layout(geometry)),
        stages_(stages),
        memory_(std::move(memory)) {}

  const KvLayout& layout() const { return layout_; }
  std::int32_t stages() const { return stages_; }  // of attention's ring on this cache's device
  void* data() { return memory_.data(); }
  const void* data() const { return memory_.data(); }

 private:
  KvLayout layout_;
  std::int32_t stages_;
  Buffer memory_;
};

// Allocates zeroed pages; workers() is the number of attention blocks that the GPU holds at once. ERRORS:
// InvalidArgument (a head size or page size without a kernel), ResourceExhausted, FailedPrecondition (the kernel needs
// more shared memory than the GPU has).
absl::StatusOr<std::unique_ptr<CudaKvCache>> make_cuda_kv_cache(const KvGeometry& geometry, const GpuFacts& gpu,
                                                                LoadedKernels& kernels, cudaStream_t stream);

}  // namespace coppice::kernels::cuda
