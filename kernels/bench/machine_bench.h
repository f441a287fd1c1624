// What a device can do at best, measured now: the bound that benchmarks compare themselves with.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "kernels/cuda/options.h"
#include "kernels/machine_figures.h"

namespace coppice::kernels {

// device: Device::name() of the device to measure. options: of a GPU. Takes a second or two. ERRORS: InvalidArgument
// (no such device), ResourceExhausted, and those of cuda::load_cuda_backend.
absl::StatusOr<MachineFigures> measure_machine(std::string_view device, const cuda::CudaOptions& options);

}  // namespace coppice::kernels
