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

// Rounded once as long as the exact result has no more bits than a double.
template <typename Element>
std::uint32_t multiply_add_halves(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  const auto one = [](float x, float y, float z) {
    return static_cast<float>(static_cast<double>(x) * static_cast<double>(y) + static_cast<double>(z));
  };
  const Vector<float, 2> x = unpack_halves<Element>(a);
  const Vector<float, 2> y = unpack_halves<Element>(b);
  const Vector<float, 2> z = unpack_halves<Element>(c);
  return pack_halves<Element>(one(x.at[0], y.at[0], z.at[0]), one(x.at[1], y.at[1], z.at[1]));
}

inline std::uint32_t masked_with(std::uint32_t word, std::uint32_t mask, std::uint32_t with) {
  return (word & mask) | with;
}

inline std::uint32_t choose_bytes(std::uint32_t a, std::uint32_t b, std::uint32_t which) {
  const std::uint64_t bytes = static_cast<std::uint64_t>(b) << 32U | a;
  std::uint32_t word = 0;
  for (std::uint32_t i = 0; i < 4; ++i) {
    word |= static_cast<std::uint32_t>(bytes >> (8 * (which >> (4 * i) & 7U)) & 0xFFU) << (8 * i);
  }
  return word;
}

inline float multiply(float a, float b) {
  return a * b;  // compiled with -ffp-contract=off
}

inline float exp2_approximate(float x) {
  const float result = std::exp2(x);
  return result < std::numeric_limits<float>::min() ? 0.0F : result;
}

}  // namespace coppice::kernels::cuda
