// The KV pages of all layers in GPU memory, laid out as kv_layout.h says.
#pragma once

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"

namespace coppice::kernels::cuda {

// Owner: the engine's pool. Values (not keys) are stored finite, as on the CPU.
class CudaKvCache : public KvCache {
 public:
  CudaKvCache(const KvGeometry& geometry, Buffer memory)
      : KvCache(geometry), layout_(kv_layout(geometry)), memory_(std::move(memory)) {}

  const KvLayout& layout() const { return layout_; }
  void* data() { return memory_.data(); }
  const void* data() const { return memory_.data(); }

 private:
  KvLayout layout_;
  Buffer memory_;
};

// Zeroed pages. ERRORS: InvalidArgument (a head size or page size that attention on the GPU has not),
// ResourceExhausted.
absl::StatusOr<std::unique_ptr<CudaKvCache>> make_cuda_kv_cache(const KvGeometry& geometry, cudaStream_t stream);

}  // namespace coppice::kernels::cuda
