// Conversions and the one approximate function. Everything else of <cmath> in float (fmaf, expf, sqrtf, cosf, …) may be
// used as it is.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/element.h"
#include "thread.cuh"

namespace coppice::kernels::cuda {

COPPICE_DEVICE float to_float(float value) {
  return value;
}
COPPICE_DEVICE float to_float(Bf16 value) {
  return __uint_as_float(static_cast<std::uint32_t>(value.bits) << 16);
}
COPPICE_DEVICE float to_float(F16 value) {
  return __half2float(__ushort_as_half(value.bits));
}

// To the nearest, ties to even. f16: infinity beyond its range.
template <typename Element>
COPPICE_DEVICE Element from_float(float value) {
  if constexpr (std::is_same_v<Element, Bf16>) {
    return Bf16{__bfloat16_as_ushort(__float2bfloat16_rn(value))};
  } else if constexpr (std::is_same_v<Element, F16>) {
    return F16{__half_as_ushort(__float2half_rn(value))};
  } else {
    return value;
  }
}

// Two elements in one word, the first in the low half: how fragments hold them.
template <typename Element>
COPPICE_DEVICE std::uint32_t pack_halves(float low, float high) {
  static_assert(kIsHalf<Element>);
  std::uint32_t word;
  if constexpr (std::is_same_v<Element, Bf16>) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  }
  return word;
}
template <typename Element>
COPPICE_DEVICE Vector<float, 2> unpack_halves(std::uint32_t word) {
  static_assert(kIsHalf<Element>);
  return {{to_float(Element{static_cast<std::uint16_t>(word & 0xFFFFU)}),
           to_float(Element{static_cast<std::uint16_t>(word >> 16)})}};
}

// a · b + c of both elements, rounded once; subnormal numbers are numbers.
template <typename Element>
COPPICE_DEVICE std::uint32_t multiply_add_halves(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  static_assert(kIsHalf<Element>);
  std::uint32_t word;
  if constexpr (std::is_same_v<Element, Bf16>) {
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(word) : "r"(a), "r"(b), "r"(c));
  } else {
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(word) : "r"(a), "r"(b), "r"(c));
  }
  return word;
}

// (word & mask) | with, in one instruction.
COPPICE_DEVICE std::uint32_t masked_with(std::uint32_t word, std::uint32_t mask, std::uint32_t with) {
  std::uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(result) : "r"(word), "r"(mask), "r"(with));
  return result;
}

// A word of four of the eight bytes of a (0 to 3, the lowest first) and b (4 to 7): those that the digits of `which`
// name, the lowest digit that of the lowest byte.
COPPICE_DEVICE std::uint32_t choose_bytes(std::uint32_t a, std::uint32_t b, std::uint32_t which) {
  return __byte_perm(a, b, which);
}

// A product that no compiler fuses with a sum behind it: for results that must be the same bits in two places of the
// source. (fmaf() is the opposite: always fused.)
COPPICE_DEVICE float multiply(float a, float b) {
  return __fmul_rn(a, b);
}

// 2^x to about two units in the last place; 0 for -infinity; subnormal results are 0.
COPPICE_DEVICE float exp2_approximate(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

}  // namespace coppice::kernels::cuda
