// Measures the best rates of this GPU (`coppice bench machine --device cuda`).
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/cuda/options.h"
#include "kernels/cuda/runtime.h"
#include "kernels/machine_figures.h"

namespace coppice::kernels::cuda {

// Reads and copies of 1 GiB; a bf16 product of 8192 x 8192 x 8192 by cuBLASLt where that can be opened, and by our own
// kernels (`isa` says how fast each is). Takes a second and 3 GB. ERRORS: as CudaContext::open, Internal.
absl::StatusOr<MachineFigures> measure_machine(const CudaOptions& options);

// A square product of bf16 matrices with float32 sums, in cuBLASLt, opened at run time: nothing else of Coppice needs
// it. Pointers are device memory, `out` bf16. ERRORS: NotFound (no cuBLASLt on this machine), Internal.
class BlasProduct {
 public:
  static absl::StatusOr<BlasProduct> create(std::int64_t size);
  absl::Status run(const void* a, const void* b, void* out, void* workspace, std::size_t workspace_bytes,
                   cudaStream_t stream);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace coppice::kernels::cuda
