// One function a format: from a block's bytes to its numbers, and to their parts.
#include "kernels/quantised_blocks.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "kernels/float16.h"
#include "kernels/float8.h"

namespace coppice::kernels {
namespace {

// Numbers of a block of the types with a single scale, and of the K types.
constexpr std::size_t kSmall = 32;
constexpr std::size_t kLarge = 256;

template <typename T>
T load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

std::uint32_t low(std::byte byte) {
  return static_cast<std::uint32_t>(byte) & 0xFU;
}
std::uint32_t high(std::byte byte) {
  return static_cast<std::uint32_t>(byte) >> 4U;
}

// --- small whole numbers out of packed bytes ---

// A byte holds a number of the block's first half and one of its second half. `fifth`: a fifth bit of each, bit i of
// number i.
void take_nibbles(const std::byte* bytes, std::uint32_t fifth, std::uint8_t* bits) {
  for (std::size_t i = 0; i < kSmall / 2; ++i) {
    bits[i] = static_cast<std::uint8_t>(low(bytes[i]) | (fifth >> i & 1U) << 4U);
    bits[i + kSmall / 2] = static_cast<std::uint8_t>(high(bytes[i]) | (fifth >> (i + kSmall / 2) & 1U) << 4U);
  }
}

// Q4_K and Q5_K: sub-blocks 2 j and 2 j + 1 are the low and the high four bits of the same 32 bytes. `fifths`: bit
// 2 j, or 2 j + 1, of byte i is the fifth one of number i; null: there is none.
void take_sub_blocks(const std::byte* fifths, const std::byte* numbers, std::uint8_t* bits) {
  for (std::size_t sub = 0; sub < kLarge / kSmall; ++sub) {
    for (std::size_t i = 0; i < kSmall; ++i) {
      const std::byte byte = numbers[sub / 2 * kSmall + i];
      std::uint32_t number = sub % 2 == 0 ? low(byte) : high(byte);
      number |= fifths == nullptr ? 0U : (static_cast<std::uint32_t>(fifths[i]) >> sub & 1U) << 4U;
      bits[sub * kSmall + i] = static_cast<std::uint8_t>(number);
    }
  }
}

// Scale and least of sub-block `i` of eight, six bits each, of the twelve bytes of Q4_K and Q5_K.
struct SubScale {
  std::uint8_t scale;
  std::uint8_t least;
};
SubScale sub_scale(const std::byte* packed, std::size_t i) {
  const auto byte = [packed](std::size_t at) { return static_cast<std::uint32_t>(packed[at]); };
  if (i < 4) {
    return {static_cast<std::uint8_t>(byte(i) & 63U), static_cast<std::uint8_t>(byte(i + 4) & 63U)};
  }
  return {static_cast<std::uint8_t>((byte(i + 4) & 0xFU) | (byte(i - 4) >> 6U) << 4U),
          static_cast<std::uint8_t>(byte(i + 4) >> 4U | (byte(i) >> 6U) << 4U)};
}

// Sixteen sub-blocks of 16. In each half of the block, 64 bytes of four low bits and 32 of two high ones: quarter q of
// 32 numbers has the low or the high four bits of bytes 32 (q mod 2) …, and bits 2 q, 2 q + 1 of the others.
constexpr std::size_t kSixLows = 128;  // bytes of low bits, before …
constexpr std::size_t kSixHighs = 64;  // … those of high bits
void take_sixes(const std::byte* block, std::uint8_t* bits) {
  for (std::size_t at = 0; at < kLarge; ++at) {
    const std::size_t side = at / 128;
    const std::size_t quarter = at / kSmall % 4;
    const std::size_t i = at % kSmall;
    const std::byte lows = block[side * kSixLows / 2 + quarter % 2 * kSmall + i];
    const auto highs = static_cast<std::uint32_t>(block[kSixLows + side * kSixHighs / 2 + i]);
    bits[at] = static_cast<std::uint8_t>((quarter < 2 ? low(lows) : high(lows)) | (highs >> (2 * quarter) & 3U) << 4U);
  }
}

// --- one block taken apart ---

void take_block(WeightKind kind, const std::byte* block, std::size_t group, BlockParts& parts) {
  std::uint8_t* const bits = parts.bits.data() + group * kSmall;
  const auto half = [block](std::size_t at) { return load<std::uint16_t>(block + at); };
  switch (kind) {
    case WeightKind::kQ4_0:
      parts.scales[group] = half(0);
      return take_nibbles(block + 2, 0, bits);
    case WeightKind::kQ4_1:
      parts.scales[group] = half(0);
      parts.leasts[group] = half(2);
      return take_nibbles(block + 4, 0, bits);
    case WeightKind::kQ5_0:
      parts.scales[group] = half(0);
      return take_nibbles(block + 6, load<std::uint32_t>(block + 2), bits);
    case WeightKind::kQ5_1:
      parts.scales[group] = half(0);
      parts.leasts[group] = half(2);
      return take_nibbles(block + 8, load<std::uint32_t>(block + 4), bits);
    case WeightKind::kQ8_0:
      parts.scales[group] = half(0);
      for (std::size_t i = 0; i < kSmall; ++i) {
        bits[i] = static_cast<std::uint8_t>(static_cast<std::uint32_t>(block[2 + i]) ^ 0x80U);
      }
      return;
    case WeightKind::kQ4_K:
    case WeightKind::kQ5_K: {
      parts.scales[0] = half(0);
      parts.leasts[0] = half(2);
      for (std::size_t sub = 0; sub < kLarge / kSmall; ++sub) {
        const SubScale own = sub_scale(block + 4, sub);
        parts.sub_scales[sub] = own.scale;
        parts.sub_leasts[sub] = own.least;
      }
      if (kind == WeightKind::kQ4_K) {
        return take_sub_blocks(nullptr, block + 16, bits);
      }
      return take_sub_blocks(block + 16, block + 48, bits);
    }
    case WeightKind::kQ6_K:
      std::memcpy(parts.sub_scales.data(), block + kSixLows + kSixHighs, kLarge / 16);
      parts.scales[0] = half(kSixLows + kSixHighs + kLarge / 16);
      return take_sixes(block, bits);
    case WeightKind::kF32:
    case WeightKind::kBF16:
    case WeightKind::kF16:
    case WeightKind::kInt8:
    case WeightKind::kInt4:
    case WeightKind::kFp8:
      break;
  }
  COPPICE_CHECK(false, "a block of GGUF");
}

// Number `at` of the parts.
float number_of(const BlockParts& parts, WeightKind kind, std::size_t at) {
  const auto whole = static_cast<float>(static_cast<std::int32_t>(parts.bits[at]) - zero_of(kind));
  const NumberScale own = scale_of(parts, kind, at);
  return zero_of(kind) == 0 ? own.scale * whole + own.least : own.scale * whole;
}

constexpr std::array<float, 256> kFp8Numbers = [] {  // by their bits
  std::array<float, 256> numbers;
  for (std::uint32_t bits = 0; bits < numbers.size(); ++bits) {
    numbers[bits] = fp8_to_float(static_cast<std::uint8_t>(bits));
  }
  return numbers;
}();

// Number `column` of a row with scales beside it.
float grouped_number(const HostWeight& row, std::int64_t column) {
  const auto group = static_cast<std::size_t>(row.format.group == 0 ? 0 : column / row.format.group);
  if (row.format.kind == WeightKind::kInt8) {
    const auto whole = static_cast<std::int8_t>(row.bytes[static_cast<std::size_t>(column)]);
    return row.scales[group] * static_cast<float>(whole);
  }
  if (row.format.kind == WeightKind::kFp8) {
    return row.scales[group] * kFp8Numbers[static_cast<std::size_t>(row.bytes[static_cast<std::size_t>(column)])];
  }
  const std::byte pair = row.bytes[static_cast<std::size_t>(column / 2)];
  const std::uint32_t bits = column % 2 == 0 ? low(pair) : high(pair);
  return row.scales[2 * group] * static_cast<float>(bits) + row.scales[2 * group + 1];
}

// Places of float16 scales in a block: one, or two next to each other.
struct ScalePlaces {
  std::size_t first = 0;
  std::size_t count = 1;
};
ScalePlaces scale_places(WeightKind kind) {
  switch (kind) {
    case WeightKind::kQ4_0:
    case WeightKind::kQ5_0:
    case WeightKind::kQ8_0:
      return {};
    case WeightKind::kQ4_1:
    case WeightKind::kQ5_1:
    case WeightKind::kQ4_K:
    case WeightKind::kQ5_K:
      return {0, 2};
    case WeightKind::kQ6_K:
      return {kSixLows + kSixHighs + kLarge / 16, 1};
    case WeightKind::kF32:
    case WeightKind::kBF16:
    case WeightKind::kF16:
    case WeightKind::kInt8:
    case WeightKind::kInt4:
    case WeightKind::kFp8:
      break;
  }
  return {0, 0};
}

}  // namespace

std::int32_t zero_of(WeightKind kind) {
  switch (kind) {
    case WeightKind::kQ4_0:
      return 8;
    case WeightKind::kQ5_0:
      return 16;
    case WeightKind::kQ6_K:
      return 32;
    case WeightKind::kQ8_0:
    case WeightKind::kInt8:
      return 128;
    case WeightKind::kF32:
    case WeightKind::kBF16:
    case WeightKind::kF16:
    case WeightKind::kInt4:
    case WeightKind::kFp8:
    case WeightKind::kQ4_1:
    case WeightKind::kQ5_1:
    case WeightKind::kQ4_K:
    case WeightKind::kQ5_K:
      break;
  }
  return 0;
}

NumberScale scale_of(const BlockParts& parts, WeightKind kind, std::size_t at) {
  const std::size_t group = at / kSmall;
  switch (kind) {
    case WeightKind::kQ4_K:
    case WeightKind::kQ5_K:
      return {f16_to_float(parts.scales[0]) * static_cast<float>(parts.sub_scales[group]),
              -(f16_to_float(parts.leasts[0]) * static_cast<float>(parts.sub_leasts[group]))};
    case WeightKind::kQ6_K:
      return {f16_to_float(parts.scales[0]) * static_cast<float>(static_cast<std::int8_t>(parts.sub_scales[at / 16]))};
    case WeightKind::kQ4_1:
    case WeightKind::kQ5_1:
      return {f16_to_float(parts.scales[group]), f16_to_float(parts.leasts[group])};
    case WeightKind::kQ4_0:
    case WeightKind::kQ5_0:
    case WeightKind::kQ8_0:
      return {f16_to_float(parts.scales[group])};
    case WeightKind::kF32:
    case WeightKind::kBF16:
    case WeightKind::kF16:
    case WeightKind::kInt8:
    case WeightKind::kInt4:
    case WeightKind::kFp8:
      break;
  }
  return {};
}

BlockParts take_apart(const HostWeight& row, std::int64_t begin, std::int64_t count) {
  BlockParts parts;
  const WeightBlock block = row.format.block();
  COPPICE_CHECK(count <= kPartColumns && begin % block.columns == 0 && count % block.columns == 0, "whole blocks");
  for (std::int64_t at = 0; at < count; at += block.columns) {
    take_block(row.format.kind, row.bytes.data() + row.format.bytes(1, begin + at),
               static_cast<std::size_t>(at) / kSmall, parts);
  }
  return parts;
}

void dequantize(const HostWeight& row, std::int64_t begin, std::span<float> numbers) {
  COPPICE_CHECK(row.rows == 1 && begin + std::ssize(numbers) <= row.columns, "columns of one row");
  if (has_scales_beside(row.format.kind)) {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] = grouped_number(row, begin + static_cast<std::int64_t>(i));
    }
    return;
  }
  for (std::int64_t at = 0; at < std::ssize(numbers); at += kPartColumns) {
    const std::int64_t count = std::min(kPartColumns, std::ssize(numbers) - at);
    const BlockParts parts = take_apart(row, begin + at, count);
    for (std::int64_t i = 0; i < count; ++i) {
      numbers[static_cast<std::size_t>(at + i)] = number_of(parts, row.format.kind, static_cast<std::size_t>(i));
    }
  }
}

bool has_non_finite_scale(WeightFormat format, std::span<const std::byte> blocks) {
  constexpr std::uint16_t kExponent = 0x7C00;  // of float16: all of its bits are set in NaN and infinity only
  const ScalePlaces places = scale_places(format.kind);
  const std::size_t bytes = format.block().bytes;
  bool found = false;
  for (std::size_t block = 0; block + bytes <= blocks.size(); block += bytes) {
    for (std::size_t i = 0; i < places.count; ++i) {
      const auto scale = load<std::uint16_t>(blocks.data() + block + places.first + 2 * i);
      found = found || (scale & kExponent) == kExponent;
    }
  }
  return found;
}

}  // namespace coppice::kernels
