// Launches on the emulator: the kernel runs to its end on the current session's machine, now or when a recording of the
// launch is played.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "kernels/cuda/launch_stream.h"
#include "tests/simt/device/primitives.cuh"
#include "tests/simt/recording.h"
#include "tests/simt/session.h"

namespace coppice::kernels::cuda {

struct LaunchShape {
  std::int32_t blocks = 1;
  std::int32_t threads = 32;
  std::int32_t shared_bytes = 0;
  std::int32_t blocks_y = 1;
};

template <typename Kernel>
int prepare_kernel() {
  return 0;
}

template <typename Kernel>
std::int32_t resident_blocks(std::int32_t, std::int32_t) {
  return Kernel::kBlocksPerMultiprocessor;
}

// 0, or 1 if the run had to be given up (the session knows why).
template <typename Kernel>
int launch(const LaunchShape& shape, const typename Kernel::Params& params, LaunchStream) {
  COPPICE_CHECK(simt::Session::current() != nullptr, "a launch without a session");
  COPPICE_CHECK(shape.threads <= Kernel::kThreadsMax, "more threads than the kernel was made for");
  COPPICE_CHECK(shape.shared_bytes <= Kernel::kSharedBytesMax, "more shared memory than the kernel was made for");
  const bool finished = simt::do_or_record([shape, given = params] {
    return simt::Session::current()->machine().run({shape.blocks, shape.blocks_y, shape.threads, shape.shared_bytes},
                                                   [&given] { run_kernel<Kernel>(given); });
  });
  return finished ? 0 : 1;
}

}  // namespace coppice::kernels::cuda
