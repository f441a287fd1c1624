// What this machine can do at best, measured now: the roofline that benchmarks compare themselves with
// (`coppice bench machine`).
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "kernels/cpu/cpu_backend.h"

namespace coppice::kernels::cpu {

// A value. Rates are of all threads together, the best of several runs.
struct MachineFigures {
  double read_gb_per_s = 0;  // reading a buffer much larger than the last cache, front to back, each thread its part
  double copy_gb_per_s = 0;  // copying such a buffer; bytes read and bytes written both count, as in STREAM
  double bf16_gflops = 0;    // multiply-adds count two; on a chip without bf16 arithmetic that of f32
  double int8_gops = 0;      // the same of u8 x s8 into s32
  double f32_gflops = 0;
  int cores = 0;    // threads measured with
  std::string isa;  // isa_name()
};

// Takes about a second and 256 MB or four last-level caches of memory, whichever is more. Arithmetic is the better of a
// loop that stays in registers and of a large product (512 x 2048 x 5632). ERRORS: as make_cpu_backend;
// ResourceExhausted.
absl::StatusOr<MachineFigures> measure_machine(const CpuOptions& options);

}  // namespace coppice::kernels::cpu
