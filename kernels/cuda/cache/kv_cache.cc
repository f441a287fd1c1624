// The KV pages of all layers in GPU memory.
#include "kernels/cuda/cache/kv_cache.h"

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/key_positions.h"

namespace coppice::kernels::cuda {

namespace {

absl::StatusOr<RingFit> prepare_on(const KvGeometry& geometry, const GpuFacts& gpu, LoadedKernels& kernels) {
  LoadedKernels loaded;
  const RingFit fit = prepare_attention(geometry.head_dim, geometry.format, loaded);
  COPPICE_RETURN_IF_ERROR(prepared_status(loaded, fmt::format("attention for heads of {}", geometry.head_dim), gpu));
  kernels.add(loaded);
  return fit;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaKvCache>> make_cuda_kv_cache(const KvGeometry& geometry, const GpuFacts& gpu,
                                                                LoadedKernels& kernels, cudaStream_t stream) {
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
  COPPICE_ASSIGN_OR_RETURN(const RingFit fit, prepare_on(geometry, gpu, kernels));
  const auto elements = static_cast<std::size_t>(kv_layout(geometry).elements());
  COPPICE_ASSIGN_OR_RETURN(Buffer memory, allocate_device(elements * geometry.format.element_bytes(), stream));
  return std::make_unique<CudaKvCache>(geometry, fit.resident_blocks * gpu.processors, fit.stages, std::move(memory));
}

}  // namespace coppice::kernels::cuda
