// Matrix products on the CPU: oneDNN where it keeps the promise that a row's result depends on that row alone, our own
// product elsewhere and for quantised weights. Weights are packed once, dense ones into oneDNN's layout; a bounded
// cache keeps one primitive per (shape, types, row count).
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/host/isa.h"
#include "kernels/operations.h"

namespace coppice::kernels::cpu {

// Owner: the CPU backend. Thread: its caller; one call at a time.
class CpuLinear {
 public:
  explicit CpuLinear(const CpuContext& context);
  ~CpuLinear();
  CpuLinear(const CpuLinear&) = delete;
  CpuLinear& operator=(const CpuLinear&) = delete;

  // Weights are stored in the compute type or quantised. Full speed: f32 always, bf16 with AVX-512-BF16. f16 is not
  // supported.
  Support supports(const PackingOptions& packing) const;

  // Arguments as Device::pack_linear, checked there.
  absl::StatusOr<std::unique_ptr<LinearWeight>> pack(std::span<const HostWeight> parts,
                                                     std::span<const HostWeight> biases, const PackingOptions& options);

  // Arguments as Operations::linear, checked there. REQUIRES: `weight` came from pack().
  void run(const Matrix& in, const LinearWeight& weight, LinearEpilogue epilogue, const Matrix& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace coppice::kernels::cpu
