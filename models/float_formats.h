// Conversions between the formats of weights and compute types in plain integer arithmetic: exact widening, rounding to
// nearest even when narrowing. For loading and tests; kernels have their own vector forms.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "kernels/float16.h"
#include "kernels/formats.h"

namespace coppice::models {

constexpr float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

constexpr std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) {
    return static_cast<std::uint16_t>((bits >> 16) | 0x40U);  // NaN stays NaN: rounding could carry it to infinity
  }
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

using kernels::f16_to_float;

// Writes a weight's elements as f32. REQUIRES: target holds source.rows * source.columns numbers.
void convert_to_float(const kernels::HostWeight& source, std::span<float> target);

// Writes a weight's elements in `type`, rounded; numbers too large for f16 become infinite. Elements stored in `type`
// keep their bits. REQUIRES: target is aligned for the type and holds source.rows * source.columns elements of it.
void convert(const kernels::HostWeight& source, kernels::ComputeType type, std::span<std::byte> target);

// Whether an element, or in quantised blocks a scale, is NaN or infinite. REQUIRES: whole blocks, aligned for them.
bool has_non_finite(kernels::WeightFormat format, std::span<const std::byte> elements);

}  // namespace coppice::models
