// The step's attention plan on the device.
#include "kernels/cuda/attention_step.h"

#include <algorithm>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/device_memory.h"

namespace coppice::kernels::cuda {

absl::StatusOr<int> AttentionStep::resident_blocks(const KvGeometry& geometry, const GpuFacts& gpu) {
  const int error = prepare_attention(geometry.head_dim, geometry.dtype);
  COPPICE_RETURN_IF_ERROR(to_status(static_cast<cudaError_t>(error), "attention"));
  const int blocks = attention_blocks_per_multiprocessor(geometry.head_dim, geometry.dtype);
  if (blocks <= 0) {
    return absl::InternalError(
        fmt::format("attention: its kernel for heads of {} does not fit {}", geometry.head_dim, gpu.name));
  }
  return blocks * gpu.processors;
}

void AttentionStep::prepare(const AttentionPlan& plan, const AttentionParameters& parameters, Staging& staging,
                            cudaStream_t stream) {
  const std::int32_t group = parameters.query_heads / parameters.key_heads;
  const std::size_t bytes = attention_plan_bytes(plan, group, parameters.head_dim);
  packed_.resize(std::max(packed_.size(), bytes));
  const std::size_t used = pack_attention_plan(plan, group, parameters.head_dim, packed_);
  reserve_device(plan_, used, stream);
  reserve_device(partials_,
                 attention_partial_floats(plan.partial_count, parameters.query_heads, parameters.head_dim) * 4, stream);
  reserve_device(progress_, attention_progress_words(plan.items.size(), parameters.key_heads) * 4, stream);
  staging.upload(packed_.data(), plan_.data(), used);
}

void AttentionStep::run(const AttentionPlan& plan, const AttentionParameters& parameters, const Matrix& query,
                        const CudaKvCache& cache, std::int32_t layer, const Matrix& out, int blocks,
                        cudaStream_t stream) {
  const AttentionCall call{.plan = plan_.data(),
                           .partials = static_cast<float*>(partials_.data()),
                           .partial_capacity = plan.partial_count,
                           .progress = static_cast<std::uint32_t*>(progress_.data()),
                           .query = query.data,
                           .query_stride = query.stride,
                           .out = out.data,
                           .out_stride = out.stride,
                           .out_is_f32 = out.dtype == DType::kF32,
                           .cache = cache.data(),
                           .layout = cache.layout(),
                           .layer = layer,
                           .query_heads = parameters.query_heads,
                           .scale = parameters.scale,
                           .kv_dtype = cache.geometry().dtype};
  COPPICE_CUDA_CHECK(static_cast<cudaError_t>(launch_attention(call, blocks, stream)));
}

}  // namespace coppice::kernels::cuda
