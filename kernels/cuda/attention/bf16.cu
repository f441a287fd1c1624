// Attention over a KV cache in bf16.
#include "kernels/cuda/attention/halves.cuh"

namespace coppice::kernels::cuda {

template struct AttentionLaunch<Bf16>;

}  // namespace coppice::kernels::cuda
