// Our own product of a decode step's bf16 rows with dense weights: it reads the weights of oneDNN's layout at the speed
// of memory while it multiplies, where oneDNN's kernels do one after the other. Its bits are those of oneDNN's kernels,
// so that a row's result stays the same in every batch.
#pragma once

#include <cstdint>

#include "kernels/cpu/packed_weight.h"
#include "kernels/host/isa.h"
#include "kernels/operations.h"

namespace coppice::kernels::cpu {

// Most rows of a StepMatmul. On a Zen 4 it is 1.5 times as fast as oneDNN at 8 rows, 1.2 times at 16, 1.02 times at 64
// and as fast at 96.
inline constexpr std::int64_t kStepRows = 64;

// Owner: CpuLinear. Thread: its caller.
class StepMatmul {
 public:
  explicit StepMatmul(const CpuContext& context) : context_(context) {}

  // Returns whether run() takes these rows: bf16, at most kStepRows, whole words, on a machine with the instruction.
  bool takes(const Matrix& in, const PanelLayout& layout) const;

  // out = in · weightᵀ + bias, or out += it. words: packed by pack_panels. bias: f32 [out_features] or null. Every
  // output number is the sum, in rising order, of chains of the machine's products of bf16 pairs, each over `chain`
  // words of input. oneDNN's brgemm kernels add up in this way too; how long their chains are is known to no interface,
  // so CpuLinear compares. REQUIRES: takes(in, layout); chain > 0.
  void run(const Matrix& in, const PanelLayout& layout, const void* words, std::int64_t chain, const float* bias,
           LinearEpilogue epilogue, const Matrix& out) const;

 private:
  CpuContext context_;
};

}  // namespace coppice::kernels::cpu
