// Attention over a KV cache in f16.
#include "kernels/cuda/attention/halves.cuh"

namespace coppice::kernels::cuda {

template struct AttentionLaunch<F16>;

}  // namespace coppice::kernels::cuda
