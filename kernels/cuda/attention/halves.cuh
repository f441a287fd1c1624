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
};

}  // namespace coppice::kernels::cuda
