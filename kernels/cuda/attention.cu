// Launches of attention: which kernel serves a head dimension and type, and how much shared memory it may have.
#include "kernels/cuda/attention.h"

#include <device/launch.cuh>

#include "kernels/cuda/attention_kernel.cuh"

namespace coppice::kernels::cuda {
namespace {

constexpr float kLog2E = 1.44269504088896340736F;

// Calls visit.operator()<Kernel>() with the kernel of a head dimension and type.
template <typename Element, typename Visit>
auto with_kernel_of(std::int32_t head_dim, const Visit& visit) {
  switch (attention_padded_dim(head_dim)) {
    case 64:
      return visit.template operator()<AttentionKernel<Element, 64>>();
    case 80:
      return visit.template operator()<AttentionKernel<Element, 80>>();
    case 96:
      return visit.template operator()<AttentionKernel<Element, 96>>();
    case 128:
      return visit.template operator()<AttentionKernel<Element, 128>>();
    default:
      return visit.template operator()<AttentionKernel<Element, 256>>();
  }
}
template <typename Visit>
auto with_kernel(std::int32_t head_dim, DType kv_dtype, const Visit& visit) {
  return kv_dtype == DType::kBF16 ? with_kernel_of<Bf16>(head_dim, visit) : with_kernel_of<F16>(head_dim, visit);
}

// As many stages as the kernel likes and as let kBlocksPerMultiprocessor blocks run together; at least two.
template <typename Kernel>
std::int32_t stages_of() {
  for (std::int32_t stages = Kernel::kStagesMax; stages > 2; --stages) {
    if (resident_blocks<Kernel>(Kernel::kThreadsMax, Kernel::shared_bytes(stages)) >=
        Kernel::kBlocksPerMultiprocessor) {
      return stages;
    }
  }
  return 2;
}

}  // namespace

int prepare_attention(std::int32_t head_dim, DType kv_dtype) {
  return with_kernel(head_dim, kv_dtype, [&]<typename Kernel>() { return prepare_kernel<Kernel>(); });
}

std::int32_t attention_blocks_per_multiprocessor(std::int32_t head_dim, DType kv_dtype) {
  return with_kernel(head_dim, kv_dtype, [&]<typename Kernel>() {
    return resident_blocks<Kernel>(Kernel::kThreadsMax, Kernel::shared_bytes(stages_of<Kernel>()));
  });
}

int launch_attention(const AttentionCall& call, std::int32_t blocks, void* stream) {
  return with_kernel(call.layout.head_dim, call.kv_dtype, [&]<typename Kernel>() {
    using Element = typename Kernel::Shape::Number;
    static const std::int32_t chosen = stages_of<Kernel>();
    const std::int32_t stages = call.stages > 0 ? call.stages : chosen;
    typename Kernel::Params params;
    params.plan = static_cast<const std::int32_t*>(call.plan);
    params.partial_o = call.partials;
    params.partial_sums = call.partials + std::int64_t{call.partial_capacity} * call.query_heads * call.layout.head_dim;
    params.progress = call.progress;
    params.query = static_cast<const Element*>(call.query);
    params.out = call.out_is_f32 ? nullptr : static_cast<Element*>(call.out);
    params.out_f32 = call.out_is_f32 ? static_cast<float*>(call.out) : nullptr;
    params.cache = static_cast<const Element*>(call.cache) + call.layer * call.layout.layer_elements();
    params.query_stride = call.query_stride;
    params.out_stride = call.out_stride;
    params.layout = call.layout;
    params.query_heads = call.query_heads;
    params.group = call.query_heads / call.layout.key_heads;
    params.stages = stages;
    params.scale = call.scale * kLog2E;
    return launch<Kernel>(
        {.blocks = blocks, .threads = Kernel::kThreadsMax, .shared_bytes = Kernel::shared_bytes(stages)}, params,
        stream);
  });
}

}  // namespace coppice::kernels::cuda
