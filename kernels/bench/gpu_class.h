// What the model of the attention kernel's time knows of a GPU: figures of datasheets and of others' measurements, none
// of ours. A figure that was measured here replaces the one that stands here.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"

namespace coppice::kernels {

struct GpuClass {
  std::string_view name;
  std::int32_t multiprocessors = 0;
  std::int32_t blocks = 0;   // of the attention kernel at head dimension 128, a multiprocessor
  std::int32_t stages = 0;   // of its ring that shared memory has room for
  double clock_ghz = 0;      // under load
  double copy_gb_per_s = 0;  // read and written by a large copy: what a kernel can hope to read
  double l2_gb_per_s = 0;    // of reads that hit the second-level cache
  double l2_mib = 0;
};

// Returns all classes; gpu_class() finds one by its name. ERRORS: InvalidArgument, naming those that there are.
std::span<const GpuClass> gpu_classes();
absl::StatusOr<GpuClass> gpu_class(std::string_view name);

}  // namespace coppice::kernels
