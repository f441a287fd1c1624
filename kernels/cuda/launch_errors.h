// Errors of launches. While a step is recorded, the first error is kept and the recording is given up. Otherwise only a
// bug or a broken GPU causes an error, and the program ends.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/cuda/runtime.h"

namespace coppice::kernels::cuda {

// Owner: the GPU's context. Thread: its caller.
class LaunchErrors {
 public:
  // error: of a launch; a cudaError_t.
  void check(int error) {
    if (is_recording_ && error != 0) {
      first_ = first_ == cudaSuccess ? static_cast<cudaError_t>(error) : first_;
      return;
    }
    COPPICE_CUDA_CHECK(static_cast<cudaError_t>(error));
  }

  bool is_recording() const { return is_recording_; }
  void begin_recording() {
    is_recording_ = true;
    first_ = cudaSuccess;
  }
  // Returns the recording's first error.
  cudaError_t end_recording() {
    is_recording_ = false;
    return first_;
  }

 private:
  bool is_recording_ = false;
  cudaError_t first_ = cudaSuccess;
};

}  // namespace coppice::kernels::cuda
