// Spreading of packed whole numbers (packed_numbers.h).
#include "models/packed_numbers.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace coppice::models {
namespace {

// AutoAWQ's order of eight rows in a word: four bits at 4 i are row kAwqOrder[i].
constexpr std::array<std::int64_t, 8> kAwqOrder = {0, 2, 4, 6, 1, 3, 5, 7};

}  // namespace

std::int64_t awq_part_of(std::int64_t row) {
  return std::ranges::find(kAwqOrder, row % 8) - kAwqOrder.begin();
}

void spread_packed(std::span<const std::uint32_t> words, std::int64_t rows, std::int64_t columns, std::int64_t bits,
                   std::span<std::uint8_t> out) {
  const std::int64_t per_word = 32 / bits;
#pragma omp parallel for schedule(static)
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::uint32_t word = words[static_cast<std::size_t>((row * columns + column) / per_word)];
      out[static_cast<std::size_t>(row * columns + column)] =
          static_cast<std::uint8_t>(part_of(word, column % per_word, bits));
    }
  }
}

void spread_gptq(std::span<const std::uint32_t> words, std::int64_t rows, std::int64_t columns, std::int64_t bits,
                 std::span<std::uint8_t> out) {
  const std::int64_t per_word = 32 / bits;
#pragma omp parallel for schedule(static)
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::uint32_t word = words[static_cast<std::size_t>(column / per_word * rows + row)];
      out[static_cast<std::size_t>(row * columns + column)] =
          static_cast<std::uint8_t>(part_of(word, column % per_word, bits));
    }
  }
}

void spread_awq(std::span<const std::uint32_t> words, std::int64_t rows, std::int64_t columns,
                std::span<std::uint8_t> out) {
#pragma omp parallel for schedule(static)
  for (std::int64_t word = 0; word < rows / 8; ++word) {
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::uint32_t eight = words[static_cast<std::size_t>(column * (rows / 8) + word)];
      for (std::int64_t i = 0; i < 8; ++i) {
        const std::int64_t row = 8 * word + kAwqOrder[static_cast<std::size_t>(i)];
        out[static_cast<std::size_t>(row * columns + column)] = static_cast<std::uint8_t>(part_of(eight, i, 4));
      }
    }
  }
}

}  // namespace coppice::models
