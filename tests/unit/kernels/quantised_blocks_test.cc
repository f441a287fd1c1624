// Numbers of quantised blocks against the Python package `gguf` 0.19.0: bytes are i * 37 + 11, scales 0.375 and -1.25.
#include "kernels/quantised_blocks.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

namespace coppice::kernels {
namespace {

void put_half(std::vector<std::byte>& bytes, std::size_t at, std::uint16_t bits) {
  std::memcpy(bytes.data() + at, &bits, sizeof bits);
}

struct Case {
  WeightKind kind;
  std::size_t scale;  // byte at which the block's scale stands
  bool has_least;     // the scale of the least numbers is next to it
  std::vector<std::pair<std::size_t, float>> numbers;
  double sum;  // of (i + 1) × number i, exact
};

TEST_CASE("numbers of GGUF's blocks") {
  const Case cases[] = {
      {WeightKind::kQ4_0, 0, false, {{0, -1.125F}, {1, 0.75F}, {15, -3.0F}, {16, -1.125F}, {31, 0.0F}}, -194.25},
      {WeightKind::kQ4_1, 0, true, {{0, 4.375F}, {1, 0.25F}, {15, 2.5F}, {16, 2.125F}, {31, 3.25F}}, 833.625},
      {WeightKind::kQ5_0, 0, false, {{0, 3.375F}, {1, -0.75F}, {15, -4.5F}, {16, 5.25F}, {31, 0.375F}}, 42.0},
      {WeightKind::kQ5_1, 0, true, {{0, 5.875F}, {1, 7.75F}, {15, 10.0F}, {16, 5.875F}, {31, 0.625F}}, 2302.875},
      {WeightKind::kQ8_0, 0, false, {{0, 31.875F}, {1, 45.75F}, {15, -48.0F}, {16, -34.125F}, {31, -18.0F}}, -3030.0},
      {WeightKind::kQ4_K, 0, true, {{0, 191.625F}, {32, 37.5F}, {127, 79.25F}, {161, 307.5F}, {255, 68.5F}}, 4207487.0},
      {WeightKind::kQ5_K, 0, true, {{0, 377.625F}, {32, 76.5F}, {127, 47.75F}, {161, 172.5F}, {255, 91.0F}}, 7377965.0},
      {WeightKind::kQ6_K,
       208,
       false,
       {{0, -536.625F}, {32, 86.625F}, {127, 562.5F}, {161, -732.0F}, {255, -22.5F}},
       294157.5}};
  for (const Case& expected : cases) {
    const WeightFormat format{expected.kind};
    INFO(format_name(format));
    const auto columns = static_cast<std::size_t>(format.block().columns);
    std::vector<std::byte> bytes(format.block().bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<std::byte>(i * 37 + 11);
    }
    put_half(bytes, expected.scale, 0x3600);  // 0.375
    if (expected.has_least) {
      put_half(bytes, expected.scale + 2, 0xBD00);  // -1.25
    }
    const std::vector<std::byte> one = bytes;
    bytes.insert(bytes.end(), one.begin(), one.end());
    std::vector<float> numbers(2 * columns);
    dequantize({bytes, format, 1, std::ssize(numbers), {}}, 0, numbers);
    for (const auto& [at, number] : expected.numbers) {
      CHECK(numbers[at] == number);
    }
    double sum = 0;
    for (std::size_t i = 0; i < columns; ++i) {
      sum += static_cast<double>(i + 1) * static_cast<double>(numbers[i]);
      CHECK(numbers[i] == numbers[i + columns]);
    }
    CHECK(sum == expected.sum);
  }
}

TEST_CASE("a part of a row begins at any block") {
  const WeightFormat format{WeightKind::kQ4_1};
  std::vector<std::byte> bytes(4 * format.block().bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(i * 29 % 61);
  }
  const HostWeight row{bytes, format, 1, 128, {}};
  std::vector<float> all(128);
  dequantize(row, 0, all);
  std::vector<float> part(64);
  dequantize(row, 32, part);
  CHECK(std::vector<float>(all.begin() + 32, all.begin() + 96) == part);
}

TEST_CASE("whole numbers with scales beside them") {
  const std::vector<std::byte> eight = {std::byte{0x80}, std::byte{0xFF}, std::byte{0x7F}, std::byte{0}};
  const std::vector<float> scales = {0.5F, 2.0F};
  std::vector<float> numbers(4);
  dequantize({eight, {WeightKind::kInt8, 0}, 1, 4, std::span(scales).first(1)}, 0, numbers);
  CHECK(numbers == std::vector<float>{-64.0F, -0.5F, 63.5F, 0.0F});
  const std::vector<std::byte> four = {std::byte{0x21}, std::byte{0xF0}};
  const std::vector<float> pairs = {0.5F, -1.0F};
  dequantize({four, {WeightKind::kInt4, 0}, 1, 4, pairs}, 0, numbers);
  CHECK(numbers == std::vector<float>{-0.5F, 0.0F, -1.0F, 6.5F});
}

TEST_CASE("a scale that is no number is found") {
  for (const auto& [kind, at] : {std::pair{WeightKind::kQ8_0, 0}, std::pair{WeightKind::kQ4_K, 2},
                                 std::pair{WeightKind::kQ6_K, 208}, std::pair{WeightKind::kQ5_1, 2}}) {
    const WeightFormat format{kind};
    INFO(format_name(format));
    std::vector<std::byte> bytes(2 * format.block().bytes, std::byte{1});
    CHECK_FALSE(has_non_finite_scale(format, bytes));
    put_half(bytes, format.block().bytes + static_cast<std::size_t>(at), 0xFC00);
    CHECK(has_non_finite_scale(format, bytes));
  }
}

}  // namespace
}  // namespace coppice::kernels
