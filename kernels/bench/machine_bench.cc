// Which device measures itself.
#include "kernels/bench/machine_bench.h"

#include "absl/status/status.h"
#include "fmt/format.h"
#include "kernels/cpu/machine.h"
#include "kernels/cuda/load.h"

namespace coppice::kernels {

absl::StatusOr<MachineFigures> measure_machine(std::string_view device, const cuda::CudaOptions& options) {
  if (device == "cpu") {
    return cpu::measure_machine({});
  }
  if (device == "cuda") {
    return cuda::measure_cuda_machine(options);
  }
  return absl::InvalidArgumentError(fmt::format("device {}: must be one of cpu, cuda", device));
}

}  // namespace coppice::kernels
