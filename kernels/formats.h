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
#include <optional>

#include "kernels/compute_type.h"
#include "kernels/weight_format.h"

namespace coppice::kernels {

// kInt8: whole numbers from -127 to 127 with one f32 scale for a token's key, and one for its value, of each head; a
// scale is the largest magnitude / 127. It is an f32: in bf16 it would add an error of its own, in f16 it could
// overflow, and it takes 4 bytes beside the 64 to 256 of a head's numbers.
enum class KvKind : std::uint8_t { kF32, kBF16, kF16, kInt8 };

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
      case KvKind::kInt8:
        return sizeof(std::int8_t);
    }
    return 0;
  }
  // Of the scale beside one key (or value).
  constexpr std::size_t scale_bytes() const { return kind == KvKind::kInt8 ? sizeof(float) : 0; }
  // Bytes of `count` keys (or values) of head_dim numbers, with their scales.
  constexpr std::size_t bytes(std::int64_t count, std::int64_t head_dim) const {
    return static_cast<std::size_t>(count) * (static_cast<std::size_t>(head_dim) * element_bytes() + scale_bytes());
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
    case KvKind::kInt8:
      return "int8";
  }
  return "";
}

// How a weight is packed: the compute type of products with it, and its format on the device. Empty: quantised weights
// keep the format that they come in, others are stored in the compute type.
struct PackingOptions {
  ComputeType compute = ComputeType::kF32;
  std::optional<WeightFormat> storage;

  // The format in which a weight that comes in `source` is stored.
  constexpr WeightFormat storage_of(WeightFormat source) const {
    return storage.value_or(is_quantised(source) ? source : dense_format(compute));
  }

  bool operator==(const PackingOptions&) const = default;
};

// Stored in the type that is computed in.
constexpr PackingOptions dense_packing(ComputeType type) {
  return {type, dense_format(type)};
}

// The formats that one model runs in.
struct ModelFormats {
  ComputeType compute = ComputeType::kF32;
  std::optional<WeightFormat> storage;  // of packed matrices, as PackingOptions::storage
  KvFormat kv;

  constexpr PackingOptions packing() const { return {compute, storage}; }
};

// All three of one kind: what `--dtype` names.
constexpr ModelFormats formats_of(ComputeType type) {
  return {type, dense_format(type), kv_format_of(type)};
}

}  // namespace coppice::kernels
