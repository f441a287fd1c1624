// E4M3 of the OCP 8-bit floating point specification: no infinities, NaN where all bits but the sign are set.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace coppice::kernels {

inline constexpr float kFp8Most = 448.0F;  // the largest number

constexpr bool is_fp8_nan(std::uint8_t bits) {
  return (bits & 0x7FU) == 0x7FU;
}

// Exact.
constexpr float fp8_to_float(std::uint8_t bits) {
  constexpr std::uint32_t kBias = 127 - 7;  // between the exponents of float and E4M3
  const std::uint32_t exponent = bits >> 3U & 0xFU;
  const std::uint32_t fraction = bits & 0x7U;
  float magnitude = std::bit_cast<float>((exponent + kBias) << 23U | fraction << 20U);
  if (exponent == 0) {
    magnitude = static_cast<float>(fraction) * 0x1.0p-9F;
  } else if (is_fp8_nan(bits)) {
    magnitude = std::numeric_limits<float>::quiet_NaN();
  }
  return (bits & 0x80U) != 0 ? -magnitude : magnitude;
}

}  // namespace coppice::kernels
