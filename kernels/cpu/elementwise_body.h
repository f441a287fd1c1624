// The inner loops of the row-wise operations (elementwise.h), one table per instruction set. Pointers are to a row, of
// floats or of 16-bit words of the named type.
#pragma once

#include <cstdint>

#include "kernels/host/isa.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cpu {

// A table of functions; immutable.
struct ElementwiseBody {
  // out = x / sqrt(mean(x²) + epsilon) * weight; out is f32 or bf16.
  void (*rms_norm)(const float* x, const float* weight, float epsilon, std::int64_t hidden, void* out,
                   ComputeType type);
  // out = gate * sigmoid(gate) * up; gate and up of one type; all f32 or bf16.
  void (*swiglu)(const void* gate, const void* up, ComputeType in_type, std::int64_t count, void* out,
                 ComputeType out_type);
  // out = rotate(norm(x)): RMSNorm over the head when `weight` is given, then the rotation of pairs
  // (i, i + rotary_dim / 2) by the angles whose cosines and sines are cosine_sine[0 … rotary_dim / 2) and
  // [rotary_dim / 2 … rotary_dim).
  void (*rotate)(const float* x, const float* weight, float epsilon, const float* cosine_sine, std::int32_t rotary_dim,
                 std::int32_t head_dim, float* out);
  // Writes x in units of the returned scale, the largest magnitude / 127: whole numbers from -127 to 127, rounded to
  // nearest, ties to even. The scale of numbers that are not all finite is NaN. Every instruction set gives the same.
  float (*quantise)(const float* x, std::int64_t count, std::int8_t* out);
};

COPPICE_DECLARE_BODY(ElementwiseBody, elementwise_body)

}  // namespace coppice::kernels::cpu
