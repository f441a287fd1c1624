// The stream that a kernel is enqueued on, and whether it may overlap.
#pragma once

namespace coppice::kernels::cuda {

// A value.
struct LaunchStream {
  void* stream = nullptr;  // cudaStream_t
  bool overlap = false;    // the kernel may begin while the one before it still runs (device/overlap.cuh)
};

}  // namespace coppice::kernels::cuda
