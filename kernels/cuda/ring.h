// How many stages a kernel's ring of copies in shared memory has on one device. Plain C++: tests ask it for devices
// that are not there.
#pragma once

#include <cstdint>

namespace coppice::kernels::cuda {

// What one kernel is run with on one device. A value; stages == 0: not even the smallest ring fits.
struct RingFit {
  std::int32_t stages = 0;
  std::int32_t resident_blocks = 0;  // on a multiprocessor, side by side

  bool fits() const { return stages > 0; }
};

// Returns the most stages with which `wanted` blocks run side by side; where none does, the most with which one does.
// resident(stages): blocks that a multiprocessor holds. A result's bits do not depend on the number of stages.
template <typename Resident>
RingFit fit_ring(std::int32_t least, std::int32_t most, std::int32_t wanted, const Resident& resident) {
  RingFit fit;
  for (std::int32_t stages = most; stages >= least; --stages) {
    const std::int32_t blocks = resident(stages);
    if (blocks >= wanted) {
      return {.stages = stages, .resident_blocks = blocks};
    }
    if (blocks > 0 && !fit.fits()) {
      fit = {.stages = stages, .resident_blocks = blocks};
    }
  }
  return fit;
}

}  // namespace coppice::kernels::cuda
