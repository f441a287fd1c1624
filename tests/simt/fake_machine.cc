// The emulator has no speed to measure.
#include "absl/status/status.h"
#include "kernels/cuda/machine/machine.h"

namespace coppice::kernels::cuda {

absl::StatusOr<MachineFigures> measure_gpu(const GpuFacts& gpu, bool, cudaStream_t) {
  return absl::UnimplementedError(fmt::format("{} has no speed to measure", gpu.name));
}

}  // namespace coppice::kernels::cuda
