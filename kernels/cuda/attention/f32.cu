// Attention over a KV cache in float32.
#include "kernels/cuda/attention/f32.cuh"

#include "kernels/cuda/attention/launch.cuh"

namespace coppice::kernels::cuda {

template <>
struct AttentionKernels<float> {
  template <typename Visit>
  static auto choose(std::int32_t head_dim, const Visit& visit) {
    return attention_padded_dim(head_dim) <= 128 ? visit.template operator()<AttentionF32Kernel<128>>()
                                                 : visit.template operator()<AttentionF32Kernel<256>>();
  }
};

template struct AttentionLaunch<float>;

}  // namespace coppice::kernels::cuda
