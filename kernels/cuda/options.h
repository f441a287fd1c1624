// What the CUDA backend may be told. Plain data that crosses from the program into libcoppice_cuda.so.
#pragma once

#include <cstdlib>
#include <cstring>

namespace coppice::kernels::cuda {

// A variable of the environment that says 1.
inline bool switched_on(const char* variable) {
  const char* text = std::getenv(variable);
  return text != nullptr && std::strcmp(text, "1") == 0;
}
inline bool wgmma_by_environment() {
  return switched_on("COPPICE_CUDA_WGMMA");
}
inline bool overlap_by_environment() {
  return switched_on("COPPICE_CUDA_OVERLAP");
}

struct CudaOptions {
  int device = 0;   // index among the GPUs that CUDA_VISIBLE_DEVICES leaves
  int graphs = 64;  // recordings of steps kept (step_graphs.h); 0: every launch of every step is made one by one
  // On Hopper, large products by wgmma, if that turns out to give the bits of the other kernels (linear_probe.h). Off
  // until a GPU has shown those kernels right: docs/gpu.md.
  bool wgmma = wgmma_by_environment();
  // On Hopper and later, kernels begin while the one before them still runs (overlap.h). Off until a GPU has shown that
  // the answers stay the same: docs/gpu.md.
  bool overlap = overlap_by_environment();
};

}  // namespace coppice::kernels::cuda
