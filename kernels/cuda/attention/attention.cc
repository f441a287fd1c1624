// The type of the KV cache chooses the launch.
#include "kernels/cuda/attention/attention.h"

#include "kernels/cuda/attention/launch.h"
#include "kernels/cuda/element.h"

namespace coppice::kernels::cuda {
namespace {

// Calls visit.operator()<AttentionLaunch<Element>>().
template <typename Visit>
auto with_launch(DType kv_dtype, const Visit& visit) {
  switch (kv_dtype) {
    case DType::kBF16:
      return visit.template operator()<AttentionLaunch<Bf16>>();
    case DType::kF16:
      return visit.template operator()<AttentionLaunch<F16>>();
    default:
      return visit.template operator()<AttentionLaunch<float>>();
  }
}

}  // namespace

int prepare_attention(std::int32_t head_dim, DType kv_dtype) {
  return with_launch(kv_dtype, [&]<typename Launch>() { return Launch::prepare(head_dim); });
}

std::int32_t attention_blocks_per_multiprocessor(std::int32_t head_dim, DType kv_dtype) {
  return with_launch(kv_dtype, [&]<typename Launch>() { return Launch::blocks_per_multiprocessor(head_dim); });
}

int launch_attention(const AttentionCall& call, std::int32_t blocks, LaunchStream stream) {
  return with_launch(call.kv_dtype, [&]<typename Launch>() { return Launch::launch(call, blocks, stream); });
}

}  // namespace coppice::kernels::cuda
