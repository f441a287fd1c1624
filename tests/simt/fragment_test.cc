// Fragments: products of matrices that went through shared memory, load_matrix and multiply_accumulate equal the plain
// product; layouts are those of the PTX manual, spelled out number by number; halves round as they should.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <device/launch.cuh>
#include <random>

namespace coppice::kernels::cuda {
namespace {

struct Params {
  Global<const std::uint16_t> a;  // [16][16]
  Global<const std::uint16_t> b;  // [8][16] (k contiguous) or [16][8]
  Global<float> d;                // [16][8]
  Global<std::uint32_t> words;    // [32][4]: what load_matrix gave
  bool b_transposed = false;      // b is [16][8]
};

constexpr std::int32_t kStride = 24;  // elements; three bank groups, an odd number

template <typename Element>
struct ProductKernel {
  using Params = cuda::Params;
  static constexpr std::int32_t kThreadsMax = 32;
  static constexpr std::int32_t kBlocksPerMultiprocessor = 1;
  static constexpr std::int32_t kSharedBytesMax = 2048;

  static void run(const Params& params) {
    Shared<std::uint16_t> a = shared_array<std::uint16_t>(0);
    Shared<std::uint16_t> b = shared_array<std::uint16_t>(1024);
    const std::int32_t lane = lane_index();
    const std::int32_t b_width = params.b_transposed ? 8 : 16;
    for (std::int32_t i = lane; i < 256; i += kWarpLanes) {
      a[i / 16 * kStride + i % 16] = params.a[i];
    }
    for (std::int32_t i = lane; i < 128; i += kWarpLanes) {
      b[i / b_width * kStride + i % b_width] = params.b[i];
    }
    sync_warp();
    std::uint32_t a_words[4];
    std::uint32_t b_words[4];
    load_matrix_x4(a_words, a + lane % 16 * kStride + lane / 16 * 8);
    if (params.b_transposed) {  // the upper lanes repeat what the lower ones name
      load_matrix_x4_transposed(b_words, b + lane % 16 * kStride);
    } else {
      load_matrix_x4(b_words, b + lane % 8 * kStride + lane / 8 % 2 * 8);
    }
    float d[4] = {1.0F, 1.0F, 1.0F, 1.0F};
    multiply_accumulate<Element>(d, a_words, b_words[0], b_words[1]);
    for (std::int32_t i = 0; i < 4; ++i) {
      params.d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
      params.words[lane * 4 + i] = a_words[i];
    }
  }
};

template <typename Element>
void check_product(bool transposed) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  simt::Buffer<std::uint16_t> a(256);
  simt::Buffer<std::uint16_t> b(128);
  simt::Buffer<float> d(128);
  simt::Buffer<std::uint32_t> words(128);
  for (std::size_t i = 0; i < 256; ++i) {
    a[i] = from_float<Element>(normal(random)).bits;
    b[i / 2] = from_float<Element>(normal(random)).bits;
  }
  simt::Session session;
  REQUIRE(launch<ProductKernel<Element>>({.shared_bytes = 2048},
                                         {a.data(), b.data(), d.data(), words.data(), transposed}, {}) == 0);
  INFO(session.report());
  CHECK(session.violations().empty());
  CHECK(session.counters().matrix_load_conflicts == 0);
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t column = 0; column < 8; ++column) {
      double sum = 1.0;
      for (std::size_t k = 0; k < 16; ++k) {
        const std::size_t place = transposed ? k * 8 + column : column * 16 + k;
        sum +=
            static_cast<double>(to_float(Element{a[row * 16 + k]})) * static_cast<double>(to_float(Element{b[place]}));
      }
      CHECK(std::abs(static_cast<double>(d[row * 8 + column]) - sum) < 1e-5);
    }
  }
}

TEST_CASE("a product through fragments is the product", "[simt]") {
  check_product<Bf16>(false);
  check_product<Bf16>(true);
  check_product<F16>(false);
  check_product<F16>(true);
}

// From the manual's formulas for .bf16/.f16 multiplicand A of m16n8k16: register i of lane l holds a0 … a7 with
// row = groupID (a0, a1, a4, a5) or groupID + 8, col = threadID_in_group * 2 + (i & 1), + 8 for i >= 4.
TEST_CASE("lanes hold what the manual says", "[simt]") {
  simt::Buffer<std::uint16_t> a(256);
  simt::Buffer<std::uint16_t> b(128);
  b.zero();
  for (std::size_t i = 0; i < 256; ++i) {
    a[i] = static_cast<std::uint16_t>(i);
  }
  simt::Buffer<float> d(128);
  simt::Buffer<std::uint32_t> words(128);
  simt::Session session;
  REQUIRE(launch<ProductKernel<Bf16>>({.shared_bytes = 2048}, {a.data(), b.data(), d.data(), words.data(), false},
                                      {}) == 0);
  for (std::uint32_t lane = 0; lane < 32; ++lane) {
    for (std::uint32_t i = 0; i < 8; ++i) {
      const std::uint32_t row = lane / 4 + (i == 0 || i == 1 || i == 4 || i == 5 ? 0 : 8);
      const std::uint32_t column = lane % 4 * 2 + (i & 1U) + (i >= 4 ? 8 : 0);
      const std::uint32_t found = words[lane * 4 + i / 2] >> (i % 2 * 16) & 0xFFFFU;
      CHECK(found == row * 16 + column);
    }
  }
}

struct ConflictKernel {
  using Params = cuda::Params;
  static constexpr std::int32_t kThreadsMax = 32;
  static constexpr std::int32_t kBlocksPerMultiprocessor = 1;
  static constexpr std::int32_t kSharedBytesMax = 4096;

  static void run(const Params&) {
    Shared<std::uint16_t> rows = shared_array<std::uint16_t>(0);
    for (std::int32_t i = lane_index(); i < 2048; i += kWarpLanes) {
      rows[i] = std::uint16_t{0};
    }
    sync_warp();
    std::uint32_t words[4];
    load_matrix_x4(words, rows + lane_index() * 64);  // 128 bytes apart: always the same banks
  }
};

TEST_CASE("bank conflicts are counted", "[simt]") {
  simt::Session session;
  REQUIRE(launch<ConflictKernel>({.shared_bytes = 4096}, {}, {}) == 0);
  CHECK(session.counters().matrix_loads == 1);
  CHECK(session.counters().matrix_load_conflicts == 28);
}

TEST_CASE("halves round to the nearest, ties to even", "[simt]") {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float wide = simt::f16_to_float(half);
    if ((bits & 0x7C00U) != 0x7C00U || (bits & 0x3FFU) == 0) {
      REQUIRE(simt::float_to_f16(wide) == half);
    }
    if ((bits & 0x7F80U) != 0x7F80U || (bits & 0x7FU) == 0) {
      REQUIRE(simt::float_to_bf16(simt::bf16_to_float(half)) == half);
    }
    // Half way to the next one: to the even neighbour; a little less: back.
    if ((bits & 0x7FFFU) < 0x7BFFU) {
      const float next = simt::f16_to_float(static_cast<std::uint16_t>(bits + 1));
      const float middle = (wide + next) / 2;
      REQUIRE(simt::float_to_f16(middle) == (bits % 2 == 0 ? bits : bits + 1));
      REQUIRE(simt::float_to_f16(std::nextafter(middle, wide)) == bits);
      REQUIRE(simt::float_to_f16(std::nextafter(middle, next)) == bits + 1);
    }
  }
  CHECK(simt::float_to_f16(65519.9F) == 0x7BFF);
  CHECK(simt::float_to_f16(65520.0F) == 0x7C00);
  CHECK(simt::float_to_f16(-1e30F) == 0xFC00);
  CHECK(simt::float_to_bf16(std::bit_cast<float>(0x3F808000U)) == 0x3F80);
  CHECK(simt::float_to_bf16(std::bit_cast<float>(0x3F818000U)) == 0x3F82);
  CHECK(simt::float_to_bf16(std::bit_cast<float>(0x3F808001U)) == 0x3F81);
}

}  // namespace
}  // namespace coppice::kernels::cuda
