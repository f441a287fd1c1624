// Opening the GPU.
#include "kernels/cuda/cuda_backend.h"

#include "base/status_macros.h"
#include "kernels/cuda/runtime.h"

namespace coppice::kernels::cuda {

absl::StatusOr<std::unique_ptr<Backend>> make_cuda_backend(const CudaOptions& options) {
  COPPICE_ASSIGN_OR_RETURN(const GpuFacts gpu, open_gpu(options.device));
  return absl::UnimplementedError(fmt::format("{}: this build has no operations for it yet", gpu.name));
}

}  // namespace coppice::kernels::cuda
