// Launches of attention for one element type. Each type has its own source (bf16.cu, …), so that they compile in
// parallel: eight tensor-core kernels each.
#pragma once

#include "kernels/cuda/attention/attention.h"

namespace coppice::kernels::cuda {

// Element: Bf16, F16 or float. The functions of attention.h for a cache of this type.
template <typename Element>
struct AttentionLaunch {
  static RingFit prepare(std::int32_t head_dim, LoadedKernels& loaded);
  static int launch(const AttentionCall& call, std::int32_t blocks, LaunchStream stream);
};

}  // namespace coppice::kernels::cuda
