// Random weights in quantised formats, for the tests of products with them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "kernels/quantised_blocks.h"
#include "tests/unit/kernels/kernel_support.h"

namespace coppice::kernels::test {

// Weights in a quantised format with moderate scales.
struct Quantised {
  std::vector<std::byte> bytes;
  std::vector<float> scales;
  WeightFormat format;
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  HostWeight host() const { return {bytes, format, rows, columns, scales}; }
  // As float32, exact.
  std::vector<float> numbers() const {
    std::vector<float> out(static_cast<std::size_t>(rows * columns));
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto width = static_cast<std::size_t>(columns);
      dequantize(host().rows_from(row, 1), 0, std::span(out).subspan(static_cast<std::size_t>(row) * width, width));
    }
    return out;
  }
};

// Byte places of float16 scales in a block.
inline std::vector<std::size_t> half_places(WeightKind kind) {
  switch (kind) {
    case WeightKind::kQ4_0:
    case WeightKind::kQ5_0:
    case WeightKind::kQ8_0:
      return {0};
    case WeightKind::kQ4_1:
    case WeightKind::kQ5_1:
    case WeightKind::kQ4_K:
    case WeightKind::kQ5_K:
      return {0, 2};
    case WeightKind::kQ6_K:
      return {208};
    default:
      return {};
  }
}

inline Quantised random_quantised(WeightFormat format, std::int64_t rows, std::int64_t columns, std::uint32_t seed) {
  Quantised weight{std::vector<std::byte>(format.bytes(rows, columns)), {}, format, rows, columns};
  std::mt19937 generator(seed);
  for (std::byte& byte : weight.bytes) {
    byte = static_cast<std::byte>(generator());
  }
  std::uniform_real_distribution<float> scale(0.001F, 0.1F);
  for (std::size_t block = 0; block < weight.bytes.size(); block += format.block().bytes) {
    for (const std::size_t place : half_places(format.kind)) {
      const std::uint16_t half = to_f16((generator() % 2 == 0 ? 1.0F : -1.0F) * scale(generator));
      std::memcpy(weight.bytes.data() + block + place, &half, sizeof half);
    }
  }
  if (format.kind == WeightKind::kInt8) {
    std::ranges::replace(weight.bytes, std::byte{0x80}, std::byte{0});
  }
  if (format.kind == WeightKind::kFp8) {  // no NaN
    std::ranges::replace(weight.bytes, std::byte{0x7F}, std::byte{0x7E});
    std::ranges::replace(weight.bytes, std::byte{0xFF}, std::byte{0x01});
  }
  weight.scales.resize(static_cast<std::size_t>(format.scale_count(rows, columns)));
  for (float& number : weight.scales) {
    number = scale(generator);
  }
  return weight;
}

}  // namespace coppice::kernels::test
