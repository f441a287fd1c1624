// The KV pages of all layers in GPU memory.
#include "kernels/cuda/cache/kv_cache.h"

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/kv_split.h"

namespace coppice::kernels::cuda {

absl::StatusOr<std::unique_ptr<CudaKvCache>> make_cuda_kv_cache(const KvGeometry& geometry, cudaStream_t stream) {
  constexpr std::int32_t kPageMin = 16;
  if (!attention_supports(geometry.head_dim)) {
    return absl::InvalidArgumentError(fmt::format(
        "KV cache: heads of {} are not attended to on the GPU; it has multiples of 8 up to 256", geometry.head_dim));
  }
  if (geometry.page_size < kPageMin || kSmallSplit % geometry.page_size != 0) {
    return absl::InvalidArgumentError(
        fmt::format("KV cache: page_size {} is not one of 16, 32, 64, 128", geometry.page_size));
  }
  const auto elements = static_cast<std::size_t>(kv_layout(geometry).elements());
  COPPICE_ASSIGN_OR_RETURN(Buffer memory, allocate_device(elements * dtype_bytes(geometry.dtype), stream));
  return std::make_unique<CudaKvCache>(geometry, std::move(memory));
}

}  // namespace coppice::kernels::cuda
