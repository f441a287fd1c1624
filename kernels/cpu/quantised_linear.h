// Products with quantised weights (quantised_body.h says in which order sums are made).
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/quantised_weight.h"
#include "kernels/host/isa.h"
#include "kernels/operations.h"

namespace coppice::kernels::cpu {

// Owner: CpuLinear. Thread: its caller; one call at a time. Keeps the memory of quantised activations.
class QuantisedLinear {
 public:
  explicit QuantisedLinear(const CpuContext& context) : context_(context) {}

  // out = in · weightᵀ + bias, or out += it. in: f32 or bf16; bias: f32 [out_features] or null. ENSURES: a row of out
  // depends on its row of in alone, to the bit.
  void run(const Matrix& in, const QuantisedPanels& weight, const float* bias, LinearEpilogue epilogue,
           const Matrix& out);

 private:
  QuantisedRows quantise(const Matrix& in, const QuantisedLayout& layout);

  CpuContext context_;
  std::vector<std::int8_t> values_;
  std::vector<float> scales_;
  std::vector<std::int32_t> offsets_;
};

}  // namespace coppice::kernels::cpu
