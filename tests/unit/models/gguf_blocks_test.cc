// Numbers of quantised blocks against the Python package `gguf` 0.19.0: bytes are i * 37 + 11, scales 0.375 and -1.25.
#include "models/gguf_blocks.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

namespace coppice::models {
namespace {

const GgufType& type_of(const std::string& name) {
  for (std::uint32_t id = 0;; ++id) {
    REQUIRE(id < 64);
    if (const GgufType* const type = find_gguf_type(id); type != nullptr && type->name == name) {
      return *type;
    }
  }
}

void put_half(std::vector<std::byte>& bytes, std::size_t at, std::uint16_t bits) {
  std::memcpy(bytes.data() + at, &bits, sizeof bits);
}

struct Case {
  const char* type;
  std::size_t scale;  // byte at which the block's scale stands
  bool has_least;     // the scale of the least numbers is next to it
  std::vector<std::pair<std::size_t, float>> numbers;
  double sum;  // of (i + 1) × number i, exact
};

TEST_CASE("numbers of GGUF's blocks") {
  const Case cases[] = {
      {"Q4_0", 0, false, {{0, -1.125F}, {1, 0.75F}, {15, -3.0F}, {16, -1.125F}, {31, 0.0F}}, -194.25},
      {"Q4_1", 0, true, {{0, 4.375F}, {1, 0.25F}, {15, 2.5F}, {16, 2.125F}, {31, 3.25F}}, 833.625},
      {"Q5_0", 0, false, {{0, 3.375F}, {1, -0.75F}, {15, -4.5F}, {16, 5.25F}, {31, 0.375F}}, 42.0},
      {"Q5_1", 0, true, {{0, 5.875F}, {1, 7.75F}, {15, 10.0F}, {16, 5.875F}, {31, 0.625F}}, 2302.875},
      {"Q8_0", 0, false, {{0, 31.875F}, {1, 45.75F}, {15, -48.0F}, {16, -34.125F}, {31, -18.0F}}, -3030.0},
      {"Q4_K", 0, true, {{0, 191.625F}, {32, 37.5F}, {127, 79.25F}, {161, 307.5F}, {255, 68.5F}}, 4207487.0},
      {"Q5_K", 0, true, {{0, 377.625F}, {32, 76.5F}, {127, 47.75F}, {161, 172.5F}, {255, 91.0F}}, 7377965.0},
      {"Q6_K", 208, false, {{0, -536.625F}, {32, 86.625F}, {127, 562.5F}, {161, -732.0F}, {255, -22.5F}}, 294157.5}};
  for (const Case& expected : cases) {
    INFO(expected.type);
    const GgufType& type = type_of(expected.type);
    REQUIRE(can_dequantize(type));
    std::vector<std::byte> bytes(type.bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<std::byte>(i * 37 + 11);
    }
    put_half(bytes, expected.scale, 0x3600);  // 0.375
    if (expected.has_least) {
      put_half(bytes, expected.scale + 2, 0xBD00);  // -1.25
    }
    const std::vector<std::byte> one = bytes;
    bytes.insert(bytes.end(), one.begin(), one.end());
    std::vector<float> numbers(2 * type.block);
    dequantize(type, bytes, numbers);
    for (const auto& [at, number] : expected.numbers) {
      CHECK(numbers[at] == number);
    }
    double sum = 0;
    for (std::size_t i = 0; i < type.block; ++i) {
      sum += static_cast<double>(i + 1) * static_cast<double>(numbers[i]);
      CHECK(numbers[i] == numbers[i + type.block]);
    }
    CHECK(sum == expected.sum);
  }
}

TEST_CASE("numbers that are not in blocks") {
  float number = 0;
  dequantize(type_of("F32"), std::as_bytes(std::span("\0\0\x20\xC0", 4)), std::span(&number, 1));
  CHECK(number == -2.5F);
  dequantize(type_of("F16"), std::as_bytes(std::span("\0\xC1", 2)), std::span(&number, 1));
  CHECK(number == -2.5F);
  dequantize(type_of("BF16"), std::as_bytes(std::span("\x20\xC0", 2)), std::span(&number, 1));
  CHECK(number == -2.5F);
  CHECK_FALSE(can_dequantize(type_of("IQ2_XS")));
}

}  // namespace
}  // namespace coppice::models
