// Memory of a step: taken at the start (make_room); grown, by doubling, when a step needs more than was foreseen.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include "kernels/cuda/runtime.h"

namespace coppice::kernels::cuda {

// Makes `buffer` hold `bytes`; zeros where it had to grow (then true), else what was there. Freeing the old memory
// waits for the kernels that use it. A GPU without memory left ends the program: the engine's memory was all taken at
// the start.
inline bool reserve_device(Buffer& buffer, std::size_t bytes, cudaStream_t stream) {
  if (buffer.bytes() >= bytes) {
    return false;
  }
  absl::StatusOr<Buffer> larger = allocate_device(std::max(bytes, 2 * buffer.bytes()), stream);
  COPPICE_CHECK(larger.ok(), "no GPU memory left for the arrays of a step");
  buffer = *std::move(larger);
  return true;
}

// The same at the start, where there may be no memory. ERRORS: ResourceExhausted.
inline absl::Status make_room(Buffer& buffer, std::size_t bytes, cudaStream_t stream) {
  if (buffer.bytes() >= bytes) {
    return absl::OkStatus();
  }
  absl::StatusOr<Buffer> larger = allocate_device(bytes, stream);
  if (larger.ok()) {
    buffer = *std::move(larger);
  }
  return larger.status();
}

}  // namespace coppice::kernels::cuda
