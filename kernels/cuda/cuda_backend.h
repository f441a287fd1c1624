// The CUDA backend: the three interfaces of kernels/backend.h on one NVIDIA GPU of compute capability 8.0 or later.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cuda/options.h"

namespace coppice::kernels::cuda {

// ERRORS: FailedPrecondition in one line (no driver, no usable GPU), InvalidArgument (no such GPU), ResourceExhausted.
absl::StatusOr<std::unique_ptr<Backend>> make_cuda_backend(const CudaOptions& options);

}  // namespace coppice::kernels::cuda
