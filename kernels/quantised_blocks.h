// The numbers of quantised weights: GGUF's blocks as llama.cpp's ggml-common.h lays them out, and whole numbers with
// scales beside them. A block has one or two scales as float16 and small whole numbers; the K types have a second level
// of scales inside a block of 256.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/formats.h"

namespace coppice::kernels {

// Writes columns [begin, begin + numbers.size()) of one row as float32, each operation rounded once, GGUF's in the
// order in which the Python package `gguf` does them. REQUIRES: row.rows == 1; the format is quantised; begin is a
// multiple of its block's columns and, in GGUF's formats, so is the count.
void dequantize(const HostWeight& row, std::int64_t begin, std::span<float> numbers);

// Whether a scale in the blocks is NaN or infinite. REQUIRES: whole blocks of a quantised format.
bool has_non_finite_scale(WeightFormat format, std::span<const std::byte> blocks);

// Columns that a BlockParts holds.
inline constexpr std::int64_t kPartColumns = 256;

// Up to kPartColumns columns of a row taken apart: number = scale of its group · (bits − zero of the format) or, where
// the format has leasts, scale · bits + least.
struct BlockParts {
  std::array<std::uint8_t, kPartColumns> bits = {};
  // float16, as stored: a scale a group of 32. K types: the block's own, which multiplies all of `sub_scales`.
  std::array<std::uint16_t, kPartColumns / 32> scales = {};
  // The same, where the format has leasts. K types: the block's own, which multiplies `sub_leasts` and is subtracted.
  std::array<std::uint16_t, kPartColumns / 32> leasts = {};
  std::array<std::uint8_t, kPartColumns / 16> sub_scales = {};  // Q6_K: signed
  std::array<std::uint8_t, kPartColumns / 32> sub_leasts = {};
};

// Whether scales lie beside the numbers, not in blocks.
constexpr bool has_scales_beside(WeightKind kind) {
  return kind == WeightKind::kInt8 || kind == WeightKind::kInt4 || kind == WeightKind::kFp8;
}

// What is subtracted from the bits of a format without leasts; else 0. kInt8: of the numbers with 128 added.
std::int32_t zero_of(WeightKind kind);

// Of number `at` of the parts: number = scale · (bits − zero_of) + least, each operation rounded once; least is 0 where
// the format has none. REQUIRES: a format of GGUF.
struct NumberScale {
  float scale = 0;
  float least = 0;
};
NumberScale scale_of(const BlockParts& parts, WeightKind kind, std::size_t at);

// Takes columns [begin, begin + count) of a row in one of GGUF's formats apart. REQUIRES: begin and count are multiples
// of the block's columns; count <= kPartColumns.
BlockParts take_apart(const HostWeight& row, std::int64_t begin, std::int64_t count);

}  // namespace coppice::kernels
