// The CPU device: oneDNN matrix products, our own kernels for the rest, one OpenMP team for both.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/host/isa.h"

namespace coppice::kernels::cpu {

struct CpuOptions {
  int threads = 0;       // size of the team; 0 = every core this process may use (base::available_cores)
  Isa isa = best_isa();  // for tests: a lower one than the machine has
};

// Resolves the options on this machine. ERRORS: InvalidArgument (threads out of range, an instruction set that the
// machine lacks).
absl::StatusOr<CpuContext> make_cpu_context(const CpuOptions& options);

// Device memory of this backend is host memory. ERRORS: as make_cpu_context.
absl::StatusOr<std::unique_ptr<Backend>> make_cpu_backend(const CpuOptions& options);

}  // namespace coppice::kernels::cpu
