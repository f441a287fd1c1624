// The one exported function of libcoppice_cuda.so.
#include "kernels/cuda/entry.h"

#include "kernels/cuda/cuda_backend.h"

extern "C" __attribute__((visibility("default"))) const char* coppice_open_cuda(
    const char* identity, const coppice::kernels::cuda::CudaOptions* options,
    coppice::kernels::cuda::BackendResult* result) {
  namespace cuda = coppice::kernels::cuda;
  static const std::string own = cuda::build_identity();
  if (own != identity) {
    return own.c_str();
  }
  *result = cuda::make_cuda_backend(*options);
  return nullptr;
}
