// Matrix products on the CPU through oneDNN: weights packed once into the layout that its kernels want, one primitive
// per (shape, types, row count) kept in a bounded cache.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/cpu/isa.h"
#include "kernels/operations.h"

namespace coppice::kernels::cpu {

// Owner: the CPU backend. Thread: its caller; one call at a time.
class CpuLinear {
 public:
  explicit CpuLinear(const CpuContext& context);
  ~CpuLinear();
  CpuLinear(const CpuLinear&) = delete;
  CpuLinear& operator=(const CpuLinear&) = delete;

  // Whether products of this type run at full speed on this machine: f32 always, bf16 with AVX-512-BF16, f16 never.
  bool supports(DType weights) const;

  // Arguments as Device::pack_linear, checked there.
  absl::StatusOr<std::unique_ptr<LinearWeight>> pack(std::span<const HostTensor> parts,
                                                     std::span<const HostTensor> biases, DType dtype);

  // Arguments as Operations::linear, checked there. REQUIRES: `weight` came from pack().
  void run(const Matrix& in, const LinearWeight& weight, LinearEpilogue epilogue, const Matrix& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace coppice::kernels::cpu
