// The one exported function of libcoppice_cuda.so.
#include "kernels/cuda/entry.h"

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/machine/machine.h"

extern "C" __attribute__((visibility("default"))) const char* coppice_cuda_entry(
    const char* identity, coppice::kernels::cuda::CudaEntry* entry) {
  namespace cuda = coppice::kernels::cuda;
  static const std::string own = cuda::build_identity();
  if (own != identity) {
    return own.c_str();
  }
  *entry = {.make_backend = cuda::make_cuda_backend, .measure = cuda::measure_machine};
  return nullptr;
}
