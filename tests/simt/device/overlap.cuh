// The overlap of kernels on the emulator (kernels/cuda/device/overlap.cuh says what it is): kernels run one after the
// other, and what a thread touches too early is reported.
#pragma once

#include "tests/simt/device/thread.cuh"

namespace coppice::kernels::cuda {

inline void wait_for_earlier() {
  simt::Machine::current().thread().waited = true;
}
inline void admit_next() {}

template <typename Kernel>
concept BeginsEarly = Kernel::kBeginsEarly;

template <typename Kernel>
void run_kernel(const typename Kernel::Params& params) {
  admit_next();
  if constexpr (!BeginsEarly<Kernel>) {
    wait_for_earlier();
  }
  Kernel::run(params);
}

}  // namespace coppice::kernels::cuda
