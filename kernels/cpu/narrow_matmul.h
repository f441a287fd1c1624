// Our own product of a few bf16 rows with dense weights, for a decode step: it reads the weights of oneDNN's layout at
// the speed of memory, where oneDNN's kernel for one row does not. Its bits are those of oneDNN's kernels, so that a
// row's result stays the same in every batch.
#pragma once

#include <cstdint>

#include "kernels/cpu/packed_weight.h"
#include "kernels/host/isa.h"
#include "kernels/operations.h"

namespace coppice::kernels::cpu {

// Owner: CpuLinear. Thread: its caller.
class NarrowMatmul {
 public:
  explicit NarrowMatmul(const CpuContext& context) : context_(context) {}

  // Returns whether run() takes these rows: bf16, few, whole words, on a machine with the instruction.
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
