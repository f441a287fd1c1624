// WeightFormat: how a weight lies in a file or on the device, perhaps in blocks with scales (formats.h); HostWeight: a
// weight in host memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "kernels/compute_type.h"

namespace coppice::kernels {

enum class WeightKind : std::uint8_t {
  kF32,
  kBF16,
  kF16,
  // Whole numbers of 8 or 4 bits in groups of columns, their scales beside them.
  kInt8,
  kInt4,
  kFp8,  // numbers of 8 bits (float8.h), scaled like kInt8
  // GGUF's blocks, scales in the block (quantised_blocks.h).
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
};

// The unit of a weight format: rows × columns elements stored together. 1 × 1 where every element stands alone.
struct WeightBlock {
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  std::size_t bytes = 0;
  std::size_t alignment = 1;  // of its address
};

// A matrix in a weight format is its blocks, row-major. A value.
//
// kInt8 and kFp8: number = scale · q, where q is signed. kInt4: unsigned, two in a byte, the earlier column in its
// lower half; number = scale · q + least, where least is usually minus some whole number of scales. A row begins a byte
// and a group.
struct WeightFormat {
  WeightKind kind = WeightKind::kF32;
  std::int32_t group = 0;  // kInt8, kInt4, kFp8: columns that share a scale, a multiple of 32; 0: the whole row

  constexpr WeightBlock block() const {
    switch (kind) {
      case WeightKind::kF32:
        return {.bytes = sizeof(float), .alignment = alignof(float)};
      case WeightKind::kBF16:
      case WeightKind::kF16:
        return {.bytes = sizeof(std::uint16_t), .alignment = alignof(std::uint16_t)};
      case WeightKind::kInt8:
      case WeightKind::kFp8:
        return {.bytes = 1};
      case WeightKind::kInt4:
        return {.columns = 2, .bytes = 1};
      case WeightKind::kQ4_0:
        return {.columns = 32, .bytes = 18};
      case WeightKind::kQ4_1:
        return {.columns = 32, .bytes = 20};
      case WeightKind::kQ5_0:
        return {.columns = 32, .bytes = 22};
      case WeightKind::kQ5_1:
        return {.columns = 32, .bytes = 24};
      case WeightKind::kQ8_0:
        return {.columns = 32, .bytes = 34};
      case WeightKind::kQ4_K:
        return {.columns = 256, .bytes = 144};
      case WeightKind::kQ5_K:
        return {.columns = 256, .bytes = 176};
      case WeightKind::kQ6_K:
        return {.columns = 256, .bytes = 210};
    }
    return {};
  }

  // Groups of a row whose scales are kept beside its elements.
  constexpr std::int64_t groups(std::int64_t columns) const { return group == 0 ? 1 : (columns + group - 1) / group; }

  // Scales of a rows × columns matrix that are kept beside its elements, not in its blocks: row-major, a group's scale
  // (kInt8, kFp8), or its scale and its least (kInt4).
  constexpr std::int64_t scale_count(std::int64_t rows, std::int64_t columns) const {
    switch (kind) {
      case WeightKind::kInt8:
      case WeightKind::kFp8:
        return rows * groups(columns);
      case WeightKind::kInt4:
        return rows * groups(columns) * 2;
      case WeightKind::kF32:
      case WeightKind::kBF16:
      case WeightKind::kF16:
      case WeightKind::kQ4_0:
      case WeightKind::kQ4_1:
      case WeightKind::kQ5_0:
      case WeightKind::kQ5_1:
      case WeightKind::kQ8_0:
      case WeightKind::kQ4_K:
      case WeightKind::kQ5_K:
      case WeightKind::kQ6_K:
        return 0;
    }
    return 0;
  }

  // Bytes of a rows × columns matrix: whole blocks.
  constexpr std::size_t bytes(std::int64_t rows, std::int64_t columns) const {
    const WeightBlock unit = block();
    const std::int64_t blocks = ((rows + unit.rows - 1) / unit.rows) * ((columns + unit.columns - 1) / unit.columns);
    return static_cast<std::size_t>(blocks) * unit.bytes;
  }

  bool operator==(const WeightFormat&) const = default;
};

// The compute type that holds the format's elements as they are; empty: it is quantised.
constexpr std::optional<ComputeType> dense_type(WeightFormat format) {
  switch (format.kind) {
    case WeightKind::kF32:
      return ComputeType::kF32;
    case WeightKind::kBF16:
      return ComputeType::kBF16;
    case WeightKind::kF16:
      return ComputeType::kF16;
    case WeightKind::kInt8:
    case WeightKind::kInt4:
    case WeightKind::kFp8:
    case WeightKind::kQ4_0:
    case WeightKind::kQ4_1:
    case WeightKind::kQ5_0:
    case WeightKind::kQ5_1:
    case WeightKind::kQ8_0:
    case WeightKind::kQ4_K:
    case WeightKind::kQ5_K:
    case WeightKind::kQ6_K:
      return std::nullopt;
  }
  return std::nullopt;
}

constexpr bool is_quantised(WeightFormat format) {
  return !dense_type(format).has_value();
}

// The format whose elements stand alone, in a compute type.
constexpr WeightFormat dense_format(ComputeType type) {
  switch (type) {
    case ComputeType::kF32:
      return {WeightKind::kF32};
    case ComputeType::kBF16:
      return {WeightKind::kBF16};
    case ComputeType::kF16:
      return {WeightKind::kF16};
  }
  return {};
}

// Returns the narrowest compute type that holds every weight of the format exactly or, for a quantised format, the one
// that it is meant to be multiplied in.
constexpr ComputeType natural_compute(WeightFormat format) {
  return dense_type(format).value_or(ComputeType::kBF16);
}

constexpr const char* format_name(WeightFormat format) {
  switch (format.kind) {
    case WeightKind::kF32:
      return "f32";
    case WeightKind::kBF16:
      return "bf16";
    case WeightKind::kF16:
      return "f16";
    case WeightKind::kInt8:
      return "int8";
    case WeightKind::kInt4:
      return "int4";
    case WeightKind::kFp8:
      return "FP8";
    case WeightKind::kQ4_0:
      return "Q4_0";
    case WeightKind::kQ4_1:
      return "Q4_1";
    case WeightKind::kQ5_0:
      return "Q5_0";
    case WeightKind::kQ5_1:
      return "Q5_1";
    case WeightKind::kQ8_0:
      return "Q8_0";
    case WeightKind::kQ4_K:
      return "Q4_K";
    case WeightKind::kQ5_K:
      return "Q5_K";
    case WeightKind::kQ6_K:
      return "Q6_K";
  }
  return "";
}

// "int8"; "as in its file" where weights keep their own formats.
constexpr const char* storage_name(std::optional<WeightFormat> storage) {
  return storage ? format_name(*storage) : "as in its file";
}

// A weight in host memory, as a file holds it. Not owning. A vector has rows = 1; a weight without bytes means none.
struct HostWeight {
  std::span<const std::byte> bytes;  // format.bytes(rows, columns) of them, aligned for a block
  WeightFormat format;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::span<const float> scales;  // format.scale_count(rows, columns) of them

  bool empty() const { return bytes.empty(); }
  // Returns `count` rows from row `begin` on. REQUIRES: both are multiples of the block's rows; scales are per row.
  HostWeight rows_from(std::int64_t begin, std::int64_t count) const;
};

inline HostWeight HostWeight::rows_from(std::int64_t begin, std::int64_t count) const {
  const auto scales_at = static_cast<std::size_t>(format.scale_count(begin, columns));
  return {bytes.subspan(format.bytes(begin, columns), format.bytes(count, columns)), format, count, columns,
          scales.subspan(scales_at, static_cast<std::size_t>(format.scale_count(count, columns)))};
}

}  // namespace coppice::kernels
