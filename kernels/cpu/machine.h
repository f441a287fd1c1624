// Measures the best rates of this machine: the roofline that benchmarks compare themselves with (`coppice bench
// machine`). Each thread reads and copies its part.
#pragma once

#include "absl/status/statusor.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/machine_figures.h"

namespace coppice::kernels::cpu {

// Takes about a second, and 256 MB or four last-level caches of memory, whichever is more. The arithmetic rate is the
// better of a loop in registers and a large product (512 x 2048 x 5632). ERRORS: as make_cpu_backend;
// ResourceExhausted.
absl::StatusOr<MachineFigures> measure_machine(const CpuOptions& options);

}  // namespace coppice::kernels::cpu
