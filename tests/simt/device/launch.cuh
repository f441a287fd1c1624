// Launches on the emulator: the kernel runs to its end on the current session's machine, now or when a recording of the
// launch is played.
#pragma once

#include <algorithm>
#include <cstdint>
#include <typeinfo>

#include "base/check.h"
#include "kernels/cuda/launch_stream.h"
#include "kernels/cuda/prepare.h"
#include "tests/simt/device/primitives.cuh"
#include "tests/simt/device_limits.h"
#include "tests/simt/recording.h"
#include "tests/simt/session.h"

namespace coppice::kernels::cuda {

struct LaunchShape {
  std::int32_t blocks = 1;
  std::int32_t threads = 32;
  std::int32_t shared_bytes = 0;
  std::int32_t blocks_y = 1;
};

// Shared memory that a kernel was allowed; less than 0: it was never prepared.
template <typename Kernel>
std::int32_t& allowed_bytes() {
  static std::int32_t bytes = -1;
  return bytes;
}

template <typename Kernel>
void prepare_kernel(LoadedKernels& loaded, std::int32_t shared_bytes = Kernel::kSharedBytesMax) {
  const simt::DeviceLimits& device = simt::device_limits();
  const bool fits = shared_bytes <= device.shared_block_kib * 1024;
  if (fits) {
    allowed_bytes<Kernel>() = shared_bytes;
  }
  loaded.add(fits ? 0 : simt::kRefused, device.code_version);
}

// A kernel's registers allow kBlocksPerMultiprocessor blocks: it is compiled so.
template <typename Kernel>
std::int32_t resident_blocks(std::int32_t threads, std::int32_t shared_bytes) {
  const simt::DeviceLimits& device = simt::device_limits();
  if (shared_bytes > allowed_bytes<Kernel>()) {
    return 0;
  }
  return std::min({Kernel::kBlocksPerMultiprocessor, device.threads / threads,
                   device.shared_kib * 1024 / (shared_bytes + simt::kReservedBytes)});
}

// 0; 1 if the run had to be given up (the session knows why); a cudaError_t if the device refuses the launch.
template <typename Kernel>
int launch(const LaunchShape& shape, const typename Kernel::Params& params, LaunchStream) {
  COPPICE_CHECK(simt::Session::current() != nullptr, "a launch without a session");
  COPPICE_CHECK(shape.threads <= Kernel::kThreadsMax, "more threads than the kernel was made for");
  COPPICE_CHECK(shape.shared_bytes <= Kernel::kSharedBytesMax, "more shared memory than the kernel was made for");
  const std::int32_t allowed = allowed_bytes<Kernel>();
  if (allowed < 0) {
    simt::unprepared_launches().insert(typeid(Kernel).name());
  }
  const std::int32_t most =
      std::min(std::max(allowed, simt::kUnpreparedBytes), simt::device_limits().shared_block_kib * 1024);
  if (shape.shared_bytes > most) {
    return simt::kRefused;
  }
  const bool finished = simt::do_or_record([shape, given = params] {
    return simt::Session::current()->machine().run({shape.blocks, shape.blocks_y, shape.threads, shape.shared_bytes},
                                                   [&given] { run_kernel<Kernel>(given); });
  });
  return finished ? 0 : 1;
}

}  // namespace coppice::kernels::cuda
