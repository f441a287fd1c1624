// Memory of a step that grows when a step needs more than any before it: doubled, so that a server soon stops
// allocating.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include "kernels/cuda/runtime.h"

namespace coppice::kernels::cuda {

// Makes `buffer` hold `bytes`; zeros where it had to grow, else what was there. Freeing the old memory waits for the
// kernels that use it. A GPU without memory left ends the program: the engine's memory was all taken at the start.
inline void reserve_device(Buffer& buffer, std::size_t bytes, cudaStream_t stream) {
  if (buffer.bytes() >= bytes) {
    return;
  }
  absl::StatusOr<Buffer> larger = allocate_device(std::max(bytes, 2 * buffer.bytes()), stream);
  COPPICE_CHECK(larger.ok(), "no GPU memory left for the arrays of a step");
  buffer = *std::move(larger);
}

}  // namespace coppice::kernels::cuda
