// How the host starts a kernel (README.md: a kernel is a struct).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/launch_stream.h"
#include "kernels/cuda/prepare.h"
#include "primitives.cuh"

namespace coppice::kernels::cuda {

struct LaunchShape {
  std::int32_t blocks = 1;
  std::int32_t threads = 32;  // a multiple of 32, at most Kernel::kThreadsMax
  std::int32_t shared_bytes = 0;
  std::int32_t blocks_y = 1;
};

template <typename Kernel>
__global__ void __launch_bounds__(Kernel::kThreadsMax, Kernel::kBlocksPerMultiprocessor)
    kernel_entry(const __grid_constant__ typename Kernel::Params params) {
  run_kernel<Kernel>(params);
}

// Prepares the kernel for the current device (prepare.h), with kSharedBytesMax of dynamic shared memory or as much as
// is said. REQUIRES: called once per kernel and device before the first launch and before resident_blocks().
template <typename Kernel>
void prepare_kernel(LoadedKernels& loaded, std::int32_t shared_bytes = Kernel::kSharedBytesMax) {
  prepare_function(reinterpret_cast<const void*>(kernel_entry<Kernel>), shared_bytes, loaded);
}

// Returns how many blocks of this shape a multiprocessor holds at once; 0: none, or an error.
template <typename Kernel>
std::int32_t resident_blocks(std::int32_t threads, std::int32_t shared_bytes) {
  int blocks = 0;
  if (cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel_entry<Kernel>, threads,
                                                    static_cast<std::size_t>(shared_bytes)) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());  // a shape that does not fit is an answer
    return 0;
  }
  return blocks;
}

// Enqueues the kernel. Returns 0 or the cudaError_t of the launch.
template <typename Kernel>
int launch(const LaunchShape& shape, const typename Kernel::Params& params, LaunchStream stream) {
  cudaLaunchAttribute overlap = {};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(shape.blocks), static_cast<unsigned>(shape.blocks_y));
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(shape.shared_bytes);
  config.stream = static_cast<cudaStream_t>(stream.stream);
  config.attrs = &overlap;
  config.numAttrs = stream.overlap ? 1 : 0;
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel_entry<Kernel>, params);
  if (error != cudaSuccess) {
    static_cast<void>(cudaGetLastError());  // told once
  }
  return static_cast<int>(error);
}

}  // namespace coppice::kernels::cuda
