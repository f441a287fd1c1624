// What the CUDA backend may be told. Plain data that crosses from the program into libcoppice_cuda.so.
#pragma once

namespace coppice::kernels::cuda {

struct CudaOptions {
  int device = 0;  // index among the GPUs that CUDA_VISIBLE_DEVICES leaves
};

}  // namespace coppice::kernels::cuda
