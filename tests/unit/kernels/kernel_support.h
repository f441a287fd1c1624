// What the tests of kernels share: numbers of every type, random data, backends, and the one table of tolerances.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "kernels/cpu/cpu_backend.h"

namespace coppice::kernels::test {

// Largest error of one operation whose inputs are exact: `absolute` times the sum of the magnitudes that went into the
// number (of products, for a matrix product), plus `relative` times the number (the rounding of the output type).
struct Tolerance {
  double absolute;
  double relative;
};

// Sums are f32 for every type, so `absolute` is a few roundings of f32 (2^-24 = 6e-8; they grow with the length of a
// sum, whence 16 of them); bf16 rounds the output to 8 bits: half a unit is 2^-9 = 2e-3; f16 to 11.
constexpr Tolerance tolerance_of(ComputeType out) {
  return out == ComputeType::kF32    ? Tolerance{1e-6, 1e-6}
         : out == ComputeType::kBF16 ? Tolerance{1e-6, 0x1.0p-8}
                                     : Tolerance{1e-6, 0x1.0p-11};
}

inline std::uint16_t to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

inline float from_bf16(std::uint16_t x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16);
}

// Half to float by its definition: sign, exponent, mantissa.
inline float from_f16(std::uint16_t x) {
  const int exponent = x >> 10 & 0x1F;
  const int mantissa = x & 0x3FF;
  const double sign = (x & 0x8000) != 0 ? -1 : 1;
  if (exponent == 31) {
    return mantissa == 0 ? static_cast<float>(sign) * INFINITY : NAN;
  }
  const double value = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return static_cast<float>(sign * value);
}

// The nearest half by its definition: a whole number of units, which is 2^-24 below 2^-14; ties to even.
inline std::uint16_t to_f16(float x) {
  const std::uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  if (std::isnan(x)) {
    return 0x7E00;
  }
  int exponent = 0;
  const double magnitude = std::abs(static_cast<double>(x));
  std::frexp(std::min(magnitude, 0x1.0p17), &exponent);
  exponent = magnitude == 0 ? -14 : std::max(exponent - 1, -14);
  const double units = std::nearbyint(std::ldexp(std::min(magnitude, 0x1.0p17), 10 - exponent));
  const int bits = (exponent + 14) * 1024 + static_cast<int>(units);
  return static_cast<std::uint16_t>(sign | std::min(bits, 0x7C00));
}

// A matrix of any type with its numbers as the type holds them.
struct Tensor {
  ComputeType dtype = ComputeType::kF32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<std::byte> bytes;

  Tensor() = default;
  Tensor(ComputeType dtype_in, std::int64_t rows_in, std::int64_t columns_in)
      : dtype(dtype_in), rows(rows_in), columns(columns_in), bytes(count() * element_bytes(dtype_in)) {}

  std::size_t count() const { return static_cast<std::size_t>(rows * columns); }
  float at(std::int64_t row, std::int64_t column) const {
    const auto i = static_cast<std::size_t>(row * columns + column);
    if (dtype == ComputeType::kF32) {
      float value = 0;
      std::memcpy(&value, bytes.data() + 4 * i, 4);
      return value;
    }
    std::uint16_t half = 0;
    std::memcpy(&half, bytes.data() + 2 * i, 2);
    return dtype == ComputeType::kBF16 ? from_bf16(half) : from_f16(half);
  }
  // Rounds to the nearest.
  void set(std::int64_t row, std::int64_t column, float value) {
    const auto i = static_cast<std::size_t>(row * columns + column);
    if (dtype == ComputeType::kF32) {
      std::memcpy(bytes.data() + 4 * i, &value, 4);
    } else {
      set_bits(i, dtype == ComputeType::kBF16 ? to_bf16(value) : to_f16(value));
    }
  }
  void set_bits(std::size_t i, std::uint16_t bits) { std::memcpy(bytes.data() + 2 * i, &bits, 2); }

  Matrix matrix() { return {bytes.data(), dtype, rows, columns, columns}; }
  HostWeight host() const { return {bytes, dense_format(dtype), rows, columns, {}}; }
  std::span<const std::byte> row_bytes(std::int64_t row) const {
    const std::size_t width = static_cast<std::size_t>(columns) * element_bytes(dtype);
    return std::span(bytes).subspan(static_cast<std::size_t>(row) * width, width);
  }
};

inline Tensor random_tensor(ComputeType dtype, std::int64_t rows, std::int64_t columns, std::uint32_t seed) {
  Tensor tensor(dtype, rows, columns);
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  for (std::size_t i = 0; i < tensor.count(); ++i) {
    if (dtype == ComputeType::kF16) {
      // Any finite half of moderate size: sign, exponent 0 (denormal) to 16, mantissa.
      const auto word = static_cast<std::uint32_t>(generator());
      tensor.set_bits(i, static_cast<std::uint16_t>((word & 0x83FFU) | (word >> 16) % 17U << 10));
    } else {
      const auto position = static_cast<std::int64_t>(i);
      tensor.set(position / columns, position % columns, normal(generator));
    }
  }
  return tensor;
}

// The largest |a - b| over max(1, |b|).
inline double largest_difference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  for (std::int64_t row = 0; row < a.rows; ++row) {
    for (std::int64_t column = 0; column < a.columns; ++column) {
      const double x = a.at(row, column);
      const double y = b.at(row, column);
      const double difference = std::abs(x - y) / std::max(1.0, std::abs(y));
      largest = difference <= largest ? largest : difference;  // a NaN stays
    }
  }
  return largest;
}

inline std::unique_ptr<Backend> make_backend(int threads, cpu::Isa isa = cpu::best_isa()) {
  auto backend = cpu::make_cpu_backend({.threads = threads, .isa = isa});
  return backend.ok() ? std::move(*backend) : nullptr;
}

// A step of draws alone.
inline std::vector<SamplingResult> sample(Backend& backend, const Matrix& logits, std::span<const SamplingRow> rows) {
  backend.steps().sample(logits, rows);
  const std::span<const SamplingResult> draws = backend.steps().finish().draws;
  return {draws.begin(), draws.end()};
}

// Every instruction set that this machine can run.
inline std::vector<cpu::Isa> runnable_isas() {
  std::vector<cpu::Isa> isas;
  for (const cpu::Isa isa : {cpu::Isa::kGeneric, cpu::Isa::kAvx2, cpu::Isa::kAvx512, cpu::Isa::kAvx512Bf16}) {
    if (isa <= cpu::best_isa()) {
      isas.push_back(isa);
    }
  }
  return isas;
}

}  // namespace coppice::kernels::test
