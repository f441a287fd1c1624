// How numbers are stored and computed with. Three roles, three types, because each varies on its own: a weight may be
// stored in blocks of 4 bits, multiplied in bf16, and meet keys and values kept in 8 bits.
//
//   ComputeType   the element type of activations and of what products read
//   WeightFormat  how a weight lies in a file or on the device, perhaps in blocks with scales
//   KvFormat      how the KV cache keeps keys and values
//
// A new format is a new enumerator. Every switch over one is exhaustive and has no default, so the compiler names each
// place that needs a case; README.md lists them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace coppice::kernels {

enum class ComputeType : std::uint8_t { kF32, kBF16, kF16 };

constexpr std::size_t element_bytes(ComputeType type) {
  switch (type) {
    case ComputeType::kF32:
      return sizeof(float);
    case ComputeType::kBF16:
    case ComputeType::kF16:
      return sizeof(std::uint16_t);
  }
  return 0;
}

constexpr const char* format_name(ComputeType type) {
  switch (type) {
    case ComputeType::kF32:
      return "f32";
    case ComputeType::kBF16:
      return "bf16";
    case ComputeType::kF16:
      return "f16";
  }
  return "";
}

enum class WeightKind : std::uint8_t { kF32, kBF16, kF16 };

// The unit of a weight format: rows × columns elements stored together. 1 × 1 where every element stands alone.
struct WeightBlock {
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  std::size_t bytes = 0;
  std::size_t alignment = 1;  // of its address
};

// A matrix in a weight format is its blocks, row-major. A value.
struct WeightFormat {
  WeightKind kind = WeightKind::kF32;

  constexpr WeightBlock block() const {
    switch (kind) {
      case WeightKind::kF32:
        return {.bytes = sizeof(float), .alignment = alignof(float)};
      case WeightKind::kBF16:
      case WeightKind::kF16:
        return {.bytes = sizeof(std::uint16_t), .alignment = alignof(std::uint16_t)};
    }
    return {};
  }

  // Scales of a rows × columns matrix that are kept beside its elements, not in its blocks.
  constexpr std::int64_t scale_count(std::int64_t /*rows*/, std::int64_t /*columns*/) const {
    switch (kind) {
      case WeightKind::kF32:
      case WeightKind::kBF16:
      case WeightKind::kF16:
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

// Returns the narrowest compute type that holds every weight of the format exactly or, for a format narrower than all
// compute types, the one that it is meant to be multiplied in.
constexpr ComputeType natural_compute(WeightFormat format) {
  switch (format.kind) {
    case WeightKind::kF32:
      return ComputeType::kF32;
    case WeightKind::kBF16:
      return ComputeType::kBF16;
    case WeightKind::kF16:
      return ComputeType::kF16;
  }
  return ComputeType::kF32;
}

constexpr const char* format_name(WeightFormat format) {
  switch (format.kind) {
    case WeightKind::kF32:
      return "f32";
    case WeightKind::kBF16:
      return "bf16";
    case WeightKind::kF16:
      return "f16";
  }
  return "";
}

enum class KvKind : std::uint8_t { kF32, kBF16, kF16 };

// A value.
struct KvFormat {
  KvKind kind = KvKind::kBF16;

  constexpr std::size_t element_bytes() const {
    switch (kind) {
      case KvKind::kF32:
        return sizeof(float);
      case KvKind::kBF16:
      case KvKind::kF16:
        return sizeof(std::uint16_t);
    }
    return 0;
  }
  // Bytes of `count` keys (or values) of head_dim numbers.
  constexpr std::size_t bytes(std::int64_t count, std::int64_t head_dim) const {
    return static_cast<std::size_t>(count) * static_cast<std::size_t>(head_dim) * element_bytes();
  }

  bool operator==(const KvFormat&) const = default;
};

// Keys and values kept in a compute type.
constexpr KvFormat kv_format_of(ComputeType type) {
  switch (type) {
    case ComputeType::kF32:
      return {KvKind::kF32};
    case ComputeType::kBF16:
      return {KvKind::kBF16};
    case ComputeType::kF16:
      return {KvKind::kF16};
  }
  return {};
}

constexpr const char* format_name(KvFormat format) {
  switch (format.kind) {
    case KvKind::kF32:
      return "f32";
    case KvKind::kBF16:
      return "bf16";
    case KvKind::kF16:
      return "f16";
  }
  return "";
}

// How a weight is packed: the compute type of products with it, and its format on the device.
struct PackingOptions {
  ComputeType compute = ComputeType::kF32;
  WeightFormat storage;

  bool operator==(const PackingOptions&) const = default;
};

// Stored in the type that is computed in.
constexpr PackingOptions dense_packing(ComputeType type) {
  return {type, dense_format(type)};
}

// The formats that one model runs in.
struct ModelFormats {
  ComputeType compute = ComputeType::kF32;
  WeightFormat storage;  // of packed matrices
  KvFormat kv;

  constexpr PackingOptions packing() const { return {compute, storage}; }
};

// All three of one kind: what `--dtype` names.
constexpr ModelFormats formats_of(ComputeType type) {
  return {type, dense_format(type), kv_format_of(type)};
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
