// Preparing kernels by calls of the CUDA runtime.
#include "kernels/cuda/prepare.h"

#include <cuda_runtime_api.h>

namespace coppice::kernels::cuda {

namespace {

cudaError_t allow_shared(const void* function, std::int32_t shared_bytes) {
  int device = 0;
  int limit = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  }
  if (error == cudaSuccess && shared_bytes > limit) {
    return cudaErrorLaunchOutOfResources;
  }
  if (error == cudaSuccess) {
    error = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
  }
  // All of it for every kernel, those without any too: a multiprocessor changes the division only when it is empty, so
  // kernels that want different ones cannot follow each other without a pause.
  if (error == cudaSuccess) {
    error =
        cudaFuncSetAttribute(function, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
  }
  return error;
}

}  // namespace

void prepare_function(const void* function, std::int32_t shared_bytes, LoadedKernels& loaded) {
  cudaFuncAttributes attributes{};
  cudaError_t error = cudaFuncGetAttributes(&attributes, function);
  if (error == cudaSuccess) {
    error = allow_shared(function, shared_bytes);
  }
  if (error != cudaSuccess) {
    static_cast<void>(cudaGetLastError());  // told once
  }
  loaded.add(static_cast<int>(error), attributes.ptxVersion);
}

}  // namespace coppice::kernels::cuda
