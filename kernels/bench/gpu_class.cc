// The table of GPUs.
#include "kernels/bench/gpu_class.h"

#include <array>
#include <string>

#include "absl/status/status.h"
#include "fmt/format.h"

namespace coppice::kernels {
namespace {

// Multiprocessors, caches and clocks: the vendor's datasheets. copy: 4,300 GB/s was reported for a large copy on an
// H200 (its datasheet says 4,800); the others are the same 0.9 of their datasheets' bandwidths. l2: published
// microbenchmarks of A100 and H100, scaled by multiprocessors and clock for the others. Blocks and stages: shared
// memory of a multiprocessor (227, 163 or 99 KiB for kernels) over what a block takes.
constexpr std::array kClasses = {
    GpuClass{"H200", 132, 2, 3, 1.75, 4300, 5600, 50},  GpuClass{"H100", 132, 2, 3, 1.75, 3000, 5600, 50},
    GpuClass{"A100", 108, 2, 2, 1.35, 1800, 4000, 40},  GpuClass{"L40S", 142, 1, 2, 2.2, 770, 4500, 96},
    GpuClass{"B200", 148, 2, 3, 1.85, 7000, 7500, 126},
};

}  // namespace

std::span<const GpuClass> gpu_classes() {
  return kClasses;
}

absl::StatusOr<GpuClass> gpu_class(std::string_view name) {
  std::string known;
  for (const GpuClass& candidate : kClasses) {
    if (candidate.name == name) {
      return candidate;
    }
    known += fmt::format("{}{}", known.empty() ? "" : ", ", candidate.name);
  }
  return absl::InvalidArgumentError(fmt::format("unknown GPU \"{}\" (known: {})", name, known));
}

}  // namespace coppice::kernels
