// Sampling on the CPU: one result per row of logits, rows shared out to the team. The order of the steps and what they
// mean is kernels/sampling.h.
#pragma once

#include <span>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cpu {

// Owner: the CPU backend. Thread: its caller; one call at a time.
class CpuSampler {
 public:
  explicit CpuSampler(const CpuContext& context) : context_(context) {}

  // logits: f32 [rows, vocab]; overwritten.
  void sample(const Matrix& logits, std::span<const SamplingRow> rows, std::span<SamplingResult> results);

 private:
  CpuContext context_;
};

}  // namespace coppice::kernels::cpu
