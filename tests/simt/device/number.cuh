// Conversions on the emulator, with the GPU's rounding.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "kernels/cuda/element.h"
#include "tests/simt/half.h"

namespace coppice::kernels::cuda {

inline float to_float(float value) {
  return value;
}
inline float to_float(Bf16 value) {
  return simt::bf16_to_float(value.bits);
}
inline float to_float(F16 value) {
  return simt::f16_to_float(value.bits);
}

template <typename Element>
Element from_float(float value) {
  if constexpr (std::is_same_v<Element, Bf16>) {
    return Bf16{simt::float_to_bf16(value)};
  } else if constexpr (std::is_same_v<Element, F16>) {
    return F16{simt::float_to_f16(value)};
  } else {
    return value;
  }
}

template <typename Element>
std::uint32_t pack_halves(float low, float high) {
  static_assert(kIsHalf<Element>);
  return static_cast<std::uint32_t>(from_float<Element>(low).bits) |
         static_cast<std::uint32_t>(from_float<Element>(high).bits) << 16;
}
template <typename Element>
Vector<float, 2> unpack_halves(std::uint32_t word) {
  return {{to_float(Element{static_cast<std::uint16_t>(word & 0xFFFFU)}),
           to_float(Element{static_cast<std::uint16_t>(word >> 16)})}};
}

inline float multiply(float a, float b) {
  return a * b;  // compiled with -ffp-contract=off
}

inline float exp2_approximate(float x) {
  const float result = std::exp2(x);
  return result < std::numeric_limits<float>::min() ? 0.0F : result;
}

}  // namespace coppice::kernels::cuda
