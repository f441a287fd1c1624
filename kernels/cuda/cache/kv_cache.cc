// The KV pages of all layers in GPU memory.
#include "kernels/cuda/cache/kv_cache.h"

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/key_positions.h"

namespace coppice::kernels::cuda {

namespace {

absl::StatusOr<int> resident_blocks(const KvGeometry& geometry, const GpuFacts& gpu) {
  const int error = prepare_attention(geometry.head_dim, geometry.format);
  COPPICE_RETURN_IF_ERROR(to_status(static_cast<cudaError_t>(error), "attention"));
  const int blocks = attention_blocks_per_multiprocessor(geometry.head_dim, geometry.format);
  if (blocks <= 0) {
    return absl::InternalError(
        fmt::format("attention: its kernel for heads of {} does not fit {}", geometry.head_dim, gpu.name));
  }
  return blocks * gpu.processors;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaKvCache>> make_cuda_kv_cache(const KvGeometry& geometry, const GpuFacts& gpu,
                                                                cudaStream_t stream) {
  constexpr std::int32_t kPageMin = 16;  // tokens: a warp takes sixteen keys at once
  if (!attention_supports(geometry.head_dim)) {
    return absl::InvalidArgumentError(fmt::format(
        "KV cache: heads of {} are not attended to on the GPU; it has multiples of 8 up to 256", geometry.head_dim));
  }
  if (geometry.format.scale_bytes() > 0) {
    return absl::InvalidArgumentError(fmt::format("KV cache: {} is not kept on the GPU", format_name(geometry.format)));
  }
  if (geometry.page_size < kPageMin || kSmallSplit % geometry.page_size != 0) {
    return absl::InvalidArgumentError(
        fmt::format("KV cache: page_size {} is not one of 16, 32, 64, 128", geometry.page_size));
  }
  const auto elements = static_cast<std::size_t>(kv_layout(geometry).elements());
  COPPICE_ASSIGN_OR_RETURN(Buffer memory, allocate_device(elements * geometry.format.element_bytes(), stream));
  COPPICE_ASSIGN_OR_RETURN(const int workers, resident_blocks(geometry, gpu));
  return std::make_unique<CudaKvCache>(geometry, workers, std::move(memory));
}

}  // namespace coppice::kernels::cuda
