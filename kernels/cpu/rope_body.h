// The inner loops of rope (rope.h), one table per instruction set.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"

namespace coppice::kernels::cpu {

// A table of functions; immutable.
struct RopeBody {
  // out = rotate(norm(x)): RMSNorm over the head when `weight` is given, then the rotation of pairs
  // (i, i + rotary_dim / 2) by the angles whose cosines and sines are cosine_sine[0 … rotary_dim / 2) and
  // [rotary_dim / 2 … rotary_dim).
  void (*rotate)(const float* x, const float* weight, float epsilon, const float* cosine_sine, std::int32_t rotary_dim,
                 std::int32_t head_dim, float* out);
};

COPPICE_DECLARE_BODY(RopeBody, rope_body)

}  // namespace coppice::kernels::cpu
