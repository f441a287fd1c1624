// Whole numbers of 4 and 8 bits as checkpoints pack them, several to a word of 32 bits: where each stands, and how they
// are spread, a byte each, row by row of the matrix.
#pragma once

#include <cstdint>
#include <span>

namespace coppice::models {

// What zero is stored as where a format has no zeros of its own.
constexpr std::int32_t middle_of(std::int64_t bits) {
  return std::int32_t{1} << static_cast<std::int32_t>(bits - 1);
}

// Whole number `i` of a word that holds 32 / bits of them, the first in the lowest bits.
constexpr std::uint32_t part_of(std::uint32_t word, std::int64_t i, std::int64_t bits) {
  return word >> static_cast<std::uint32_t>(i * bits) & ((1U << static_cast<std::uint32_t>(bits)) - 1U);
}

// AutoAWQ's order of eight rows in a word: which part row `row` is.
std::int64_t awq_part_of(std::int64_t row);

// Each writes out[rows][columns]. REQUIRES: bits is 4 or 8 and divides the packed axis's words wholly; AutoAWQ's: 4.
// compressed-tensors: words [rows][columns * bits / 32].
void spread_packed(std::span<const std::uint32_t> words, std::int64_t rows, std::int64_t columns, std::int64_t bits,
                   std::span<std::uint8_t> out);
// AutoGPTQ: words [columns * bits / 32][rows].
void spread_gptq(std::span<const std::uint32_t> words, std::int64_t rows, std::int64_t columns, std::int64_t bits,
                 std::span<std::uint8_t> out);
// AutoAWQ: words [columns][rows / 8].
void spread_awq(std::span<const std::uint32_t> words, std::int64_t rows, std::int64_t columns,
                std::span<std::uint8_t> out);

}  // namespace coppice::models
