// Options of the CUDA backend. Plain data that crosses from the program into libcoppice_cuda.so.
#pragma once

namespace coppice::kernels::cuda {

struct CudaOptions {
  int device = 0;   // index among the GPUs that CUDA_VISIBLE_DEVICES leaves
  int graphs = 64;  // recordings of steps kept (step/graphs.h); 0: every launch of every step is made one by one
  // On Hopper, large products by wgmma, if that turns out to give the bits of the other kernels (linear/probe.h). Off
  // until a GPU has shown those kernels right: docs/gpu.md.
  bool wgmma = false;
  // On Hopper and later, kernels begin while the one before them still runs (device/overlap.cuh). Off until a GPU has
  // shown that the answers stay the same: docs/gpu.md.
  bool overlap = false;
};

}  // namespace coppice::kernels::cuda
