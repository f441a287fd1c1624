// Launches of attention of one element type. Each type is a source of its own (attention_bf16.cu, …), so that they
// compile side by side: tensor-core kernels of five head dimensions take the compiler a while.
#pragma once

#include "kernels/cuda/attention/attention.h"

namespace coppice::kernels::cuda {

// Element: Bf16, F16 or float. The functions of attention.h for a cache of this type.
template <typename Element>
struct AttentionLaunch {
  static int prepare(std::int32_t head_dim);
  static std::int32_t blocks_per_multiprocessor(std::int32_t head_dim);
  static int launch(const AttentionCall& call, std::int32_t blocks, LaunchStream stream);
};

}  // namespace coppice::kernels::cuda
