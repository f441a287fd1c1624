// Memory of a step: allocated at the start (make_room); grown, by doubling, if a step needs more.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include "kernels/cuda/runtime.h"

namespace coppice::kernels::cuda {

// Makes `buffer` hold at least `bytes`. Returns true if it had to grow: its address is new and its contents are zeros.
// Freeing the old memory waits for the kernels that use it. Ends the program if the GPU has no memory left: the engine
// allocates everything at the start.
inline bool reserve_device(Buffer& buffer, std::size_t bytes, cudaStream_t stream) {
  if (buffer.bytes() >= bytes) {
    return false;
  }
  absl::StatusOr<Buffer> larger = allocate_device(std::max(bytes, 2 * buffer.bytes()), stream);
  COPPICE_CHECK(larger.ok(), "no GPU memory left for the arrays of a step");
  buffer = *std::move(larger);
  return true;
}

// The same at the start, where memory may be refused. ERRORS: ResourceExhausted.
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
