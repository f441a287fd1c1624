// One function a type: from a block's bytes to its numbers.
#include "models/gguf_blocks.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "models/float_formats.h"

namespace coppice::models {
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

float half(const std::byte* bytes) {
  return f16_to_float(load<std::uint16_t>(bytes));
}

std::uint32_t low(std::byte byte) {
  return static_cast<std::uint32_t>(byte) & 0xFU;
}
std::uint32_t high(std::byte byte) {
  return static_cast<std::uint32_t>(byte) >> 4U;
}

// A byte holds a number of the block's first half and one of its second half. `fifth`: a fifth bit of each, bit i of
// number i. Number = scale × (bits − offset) + least.
void put_nibbles(const std::byte* bytes, std::uint32_t fifth, std::uint32_t offset, float scale, float least,
                 float* into) {
  for (std::size_t i = 0; i < kSmall / 2; ++i) {
    const std::array<std::uint32_t, 2> bits = {low(bytes[i]) | (fifth >> i & 1U) << 4U,
                                               high(bytes[i]) | (fifth >> (i + kSmall / 2) & 1U) << 4U};
    for (std::size_t side = 0; side < 2; ++side) {
      const float number =
          static_cast<float>(static_cast<std::int32_t>(bits[side]) - static_cast<std::int32_t>(offset));
      into[i + side * kSmall / 2] = scale * number + least;
    }
  }
}

void q4_0(const std::byte* block, float* into) {
  put_nibbles(block + 2, 0, 8, half(block), 0, into);
}

void q4_1(const std::byte* block, float* into) {
  put_nibbles(block + 4, 0, 0, half(block), half(block + 2), into);
}

void q5_0(const std::byte* block, float* into) {
  put_nibbles(block + 6, load<std::uint32_t>(block + 2), 16, half(block), 0, into);
}

void q5_1(const std::byte* block, float* into) {
  put_nibbles(block + 8, load<std::uint32_t>(block + 4), 0, half(block), half(block + 2), into);
}

void q8_0(const std::byte* block, float* into) {
  const float scale = half(block);
  for (std::size_t i = 0; i < kSmall; ++i) {
    into[i] = scale * static_cast<float>(load<std::int8_t>(block + 2 + i));
  }
}

// Scale and least of sub-block `i` of eight, six bits each, of the twelve bytes of Q4_K and Q5_K.
struct SubScale {
  float scale;
  float least;
};
SubScale sub_scale(const std::byte* packed, std::size_t i) {
  const auto byte = [packed](std::size_t at) { return static_cast<std::uint32_t>(packed[at]); };
  if (i < 4) {
    return {static_cast<float>(byte(i) & 63U), static_cast<float>(byte(i + 4) & 63U)};
  }
  return {static_cast<float>((byte(i + 4) & 0xFU) | (byte(i - 4) >> 6U) << 4U),
          static_cast<float>(byte(i + 4) >> 4U | (byte(i) >> 6U) << 4U)};
}

// Q4_K and Q5_K: sub-blocks 2 j and 2 j + 1 are the low and the high four bits of the same 32 bytes. `fifths`: bit
// 2 j, or 2 j + 1, of byte i is the fifth one of number i; null: there is none.
void put_sub_blocks(const std::byte* block, const std::byte* fifths, const std::byte* numbers, float* into) {
  const float scale = half(block);
  const float least = half(block + 2);
  for (std::size_t sub = 0; sub < kLarge / kSmall; ++sub) {
    const SubScale own = sub_scale(block + 4, sub);
    const float sub_scale = scale * own.scale;
    const float sub_least = least * own.least;
    for (std::size_t i = 0; i < kSmall; ++i) {
      const std::byte byte = numbers[sub / 2 * kSmall + i];
      std::uint32_t bits = sub % 2 == 0 ? low(byte) : high(byte);
      bits |= fifths == nullptr ? 0U : (static_cast<std::uint32_t>(fifths[i]) >> sub & 1U) << 4U;
      into[sub * kSmall + i] = sub_scale * static_cast<float>(bits) - sub_least;
    }
  }
}

void q4_k(const std::byte* block, float* into) {
  put_sub_blocks(block, nullptr, block + 16, into);
}

void q5_k(const std::byte* block, float* into) {
  put_sub_blocks(block, block + 16, block + 48, into);
}

// Sixteen sub-blocks of 16. In each half of the block, 64 bytes of four low bits and 32 of two high ones: quarter q of
// 32 numbers has the low or the high four bits of bytes 32 (q mod 2) …, and bits 2 q, 2 q + 1 of the others.
void q6_k(const std::byte* block, float* into) {
  constexpr std::size_t kLows = 128;  // bytes of low bits, before …
  constexpr std::size_t kHighs = 64;  // … those of high bits
  const std::byte* const scales = block + kLows + kHighs;
  const float scale = half(scales + kLarge / 16);
  for (std::size_t at = 0; at < kLarge; ++at) {
    const std::size_t side = at / 128;
    const std::size_t quarter = at / kSmall % 4;
    const std::size_t i = at % kSmall;
    const std::byte lows = block[side * kLows / 2 + quarter % 2 * kSmall + i];
    const auto highs = static_cast<std::uint32_t>(block[kLows + side * kHighs / 2 + i]);
    const std::uint32_t bits = (quarter < 2 ? low(lows) : high(lows)) | (highs >> (2 * quarter) & 3U) << 4U;
    const float sub_scale = scale * static_cast<float>(load<std::int8_t>(scales + at / 16));
    into[at] = sub_scale * static_cast<float>(static_cast<std::int32_t>(bits) - 32);
  }
}

void f32(const std::byte* block, float* into) {
  *into = load<float>(block);
}

void f16(const std::byte* block, float* into) {
  *into = half(block);
}

void bf16(const std::byte* block, float* into) {
  *into = bf16_to_float(load<std::uint16_t>(block));
}

struct Row {
  std::string_view type;
  void (*put)(const std::byte* block, float* into);
};
constexpr std::array kRows = {Row{"F32", f32},   Row{"F16", f16},   Row{"BF16", bf16}, Row{"Q4_0", q4_0},
                              Row{"Q4_1", q4_1}, Row{"Q5_0", q5_0}, Row{"Q5_1", q5_1}, Row{"Q8_0", q8_0},
                              Row{"Q4_K", q4_k}, Row{"Q5_K", q5_k}, Row{"Q6_K", q6_k}};

const Row* find_row(const GgufType& type) {
  const auto* const found =
      std::find_if(kRows.begin(), kRows.end(), [&type](const Row& row) { return row.type == type.name; });
  return found == kRows.end() ? nullptr : found;
}

}  // namespace

bool can_dequantize(const GgufType& type) {
  return find_row(type) != nullptr;
}

void dequantize(const GgufType& type, std::span<const std::byte> blocks, std::span<float> into) {
  const Row* const row = find_row(type);
  COPPICE_CHECK(
      row != nullptr && blocks.size() % type.bytes == 0 && into.size() == blocks.size() / type.bytes * type.block,
      "whole blocks of a known type");
  for (std::size_t i = 0; i < blocks.size() / type.bytes; ++i) {
    row->put(blocks.data() + i * type.bytes, into.data() + i * type.block);
  }
}

}  // namespace coppice::models
