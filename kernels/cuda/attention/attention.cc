// The format of the KV cache chooses the launch.
#include "kernels/cuda/attention/attention.h"

#include "kernels/cuda/attention/launch.h"
#include "kernels/cuda/element.h"

namespace coppice::kernels::cuda {
namespace {

// Calls visit.operator()<AttentionLaunch<Element>>().
template <typename Visit>
auto with_launch(KvFormat kv, const Visit& visit) {
  switch (kv.kind) {
    case KvKind::kF32:
    case KvKind::kInt8:  // no such cache is made (CudaDevice::supports)
      break;
    case KvKind::kBF16:
      return visit.template operator()<AttentionLaunch<Bf16>>();
    case KvKind::kF16:
      return visit.template operator()<AttentionLaunch<F16>>();
  }
  return visit.template operator()<AttentionLaunch<float>>();
}

}  // namespace

RingFit prepare_attention(std::int32_t head_dim, KvFormat kv, LoadedKernels& loaded) {
  return with_launch(kv, [&]<typename Launch>() { return Launch::prepare(head_dim, loaded); });
}

int launch_attention(const AttentionCall& call, std::int32_t blocks, LaunchStream stream) {
  return with_launch(call.kv, [&]<typename Launch>() { return Launch::launch(call, blocks, stream); });
}

}  // namespace coppice::kernels::cuda
