// Our own product with dense weights, for machines and shapes where oneDNN's kernels do not promise that a row's result
// is the same for every number of rows (linear.cc says which).
#pragma once

#include <vector>

#include "kernels/cpu/packed_weight.h"
#include "kernels/host/isa.h"
#include "kernels/operations.h"

namespace coppice::kernels::cpu {

// Owner: CpuLinear. Thread: its caller; one call at a time.
class PanelMatmul {
 public:
  explicit PanelMatmul(const CpuContext& context) : context_(context) {}

  // out = in · weightᵀ + bias, or out += it. words: packed by pack_panels with width kPanel. bias: f32 [out_features]
  // or null. Products and sums are f32, one multiply-add per feature in rising order.
  void run(const Matrix& in, const PanelLayout& layout, const void* words, const float* bias, LinearEpilogue epilogue,
           const Matrix& out);

 private:
  CpuContext context_;
  std::vector<float> in_f32_;  // bf16 rows as f32, padded to whole words
};

}  // namespace coppice::kernels::cpu
