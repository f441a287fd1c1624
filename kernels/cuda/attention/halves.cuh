// Which tensor-core kernel serves a head dimension.
#pragma once

#include "kernels/cuda/attention/kernel.cuh"
#include "kernels/cuda/attention/launch.cuh"

namespace coppice::kernels::cuda {

template <typename Element>
requires kIsHalf<Element>
struct AttentionKernels<Element> {
  template <typename Visit>
  static auto choose(std::int32_t head_dim, const Visit& visit) {
    const bool whole = head_dim == attention_padded_dim(head_dim);
    switch (attention_padded_dim(head_dim)) {
      case 64:
        return whole ? visit.template operator()<AttentionKernel<Element, 64, true>>()
                     : visit.template operator()<AttentionKernel<Element, 64, false>>();
      case 80:
        return visit.template operator()<AttentionKernel<Element, 80, true>>();
      case 96:
        return visit.template operator()<AttentionKernel<Element, 96, true>>();
      case 128:
        return whole ? visit.template operator()<AttentionKernel<Element, 128, true>>()
                     : visit.template operator()<AttentionKernel<Element, 128, false>>();
      default:
        return whole ? visit.template operator()<AttentionKernel<Element, 256, true>>()
                     : visit.template operator()<AttentionKernel<Element, 256, false>>();
    }
  }
};

}  // namespace coppice::kernels::cuda
