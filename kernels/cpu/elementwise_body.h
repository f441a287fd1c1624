// The inner loops of the row-wise operations (elementwise.h), one table per instruction set. Pointers are to a row; a
// 16-bit row is const void* to 16-bit words of the named type.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cpu {

// A table of functions; immutable.
struct ElementwiseBody {
  // out = `count` numbers in `format` as f32, or as bf16 (rounded to nearest even). REQUIRES: `row` begins a block.
  void (*to_f32)(const void* row, WeightFormat format, std::int64_t count, float* out);
  void (*to_bf16)(const void* row, WeightFormat format, std::int64_t count, std::uint16_t* out);
  // out = x / sqrt(mean(x²) + epsilon) * weight; out is f32 or bf16.
  void (*rms_norm)(const float* x, const float* weight, float epsilon, std::int64_t hidden, void* out,
                   ComputeType type);
  // out = gate * sigmoid(gate) * up; gate and up of one type, f32 or bf16.
  void (*swiglu)(const void* gate, const void* up, ComputeType in_type, std::int64_t count, void* out,
                 ComputeType out_type);
};

COPPICE_DECLARE_BODY(ElementwiseBody, elementwise_body)

}  // namespace coppice::kernels::cpu
