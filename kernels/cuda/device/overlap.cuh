// Kernels of one stream that overlap (programmatic dependent launch; PTX ISA, griddepcontrol; Hopper and later). Where
// the host launches so (launch.cuh), a kernel's blocks are started as soon as there is room beside the last blocks of
// the kernel before it. Until wait_for_earlier() returns, such a block may touch only what no kernel writes: weights.
// Elsewhere both are nothing.
#pragma once

#include "thread.cuh"

namespace coppice::kernels::cuda {

// Waits for the earlier kernels of the stream. ENSURES: their writes are visible, and none of them still reads.
COPPICE_DEVICE void wait_for_earlier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// Allows the next kernel's blocks to start once every block of this kernel has called it or is done.
COPPICE_DEVICE void admit_next() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Whether the kernel calls wait_for_earlier() itself, after some work of its own: it then has kBeginsEarly.
template <typename Kernel>
concept BeginsEarly = Kernel::kBeginsEarly;

// A kernel as it is entered by every thread.
template <typename Kernel>
COPPICE_DEVICE void run_kernel(const typename Kernel::Params& params) {
  admit_next();
  if constexpr (!BeginsEarly<Kernel>) {
    wait_for_earlier();
  }
  Kernel::run(params);
}

}  // namespace coppice::kernels::cuda
