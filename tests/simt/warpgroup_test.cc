// Products of a warpgroup on the emulator: through descriptors of every layout they equal float64's, sums lie where the
// PTX manual puts them, and a descriptor that says something else gives other numbers.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <device/hopper.cuh>
#include <device/launch.cuh>
#include <random>

namespace coppice::kernels::cuda {
namespace {

struct LayoutParams {
  Global<const std::uint16_t> a;  // [64][16]
  Global<const std::uint16_t> b;  // [2 count][16]
  Global<float> d;                // [64][2 count]
  SharedSwizzle swizzle;
  std::uint32_t leading_bytes;  // given to the descriptors
  std::uint32_t stride_bytes;
  std::int32_t k_begin;  // columns of 16 bits into the pattern
};

// Where element (row, k) of a matrix lies with a swizzle, by the manual's pictures: in bytes, for eight rows after the
// other without a gap.
std::int32_t layout_place(SharedSwizzle swizzle, std::int32_t row, std::int32_t k) {
  if (swizzle == SharedSwizzle::kNone) {  // two core matrices of 128 bytes side by side
    return row / 8 * 256 + k / 8 * 128 + row % 8 * 16 + k % 8 * 2;
  }
  const std::int32_t pieces = swizzle == SharedSwizzle::k128 ? 8 : swizzle == SharedSwizzle::k64 ? 4 : 2;
  const std::int32_t rows_in_line = 8 / pieces;  // of 128 bytes
  const std::int32_t piece = (k / 8) ^ (row % 8 / rows_in_line % pieces);
  return row * pieces * 16 + piece * 16 + k % 8 * 2;
}

template <typename Element, int count>
struct LayoutKernel {
  using Params = LayoutParams;
  static constexpr std::int32_t kThreadsMax = 128;
  static constexpr std::int32_t kBlocksPerMultiprocessor = 1;
  static constexpr std::int32_t kMatrixBytes = 32768;
  static constexpr std::int32_t kSharedBytesMax = 2 * kMatrixBytes;

  static void run(const Params& params) {
    const Shared<std::uint16_t> a = shared_array<std::uint16_t>(0);
    const Shared<std::uint16_t> b = shared_array<std::uint16_t>(kMatrixBytes);
    for (std::int32_t i = thread_index(); i < kMatrixBytes / 2; i += kThreadsMax) {
      a[i] = std::uint16_t{0};
      b[i] = std::uint16_t{0};
    }
    sync_block();
    for (std::int32_t i = thread_index(); i < 64 * 16; i += kThreadsMax) {
      a[layout_place(params.swizzle, i / 16, params.k_begin + i % 16) / 2] = params.a[i];
    }
    for (std::int32_t i = thread_index(); i < 2 * count * 16; i += kThreadsMax) {
      b[layout_place(params.swizzle, i / 16, params.k_begin + i % 16) / 2] = params.b[i];
    }
    fence_async_proxy();
    sync_block();
    float d[count];
    for (float& sum : d) {
      sum = 1.0F;
    }
    multiply_begin(d);
    multiply_async<Element>(
        d, matrix_descriptor(a + params.k_begin, params.leading_bytes, params.stride_bytes, params.swizzle),
        matrix_descriptor(b + params.k_begin, params.leading_bytes, params.stride_bytes, params.swizzle));
    multiply_commit();
    multiply_wait<0>(d);
    // The manual's formulas for D of m64nNk16.
    for (std::int32_t i = 0; i < count; ++i) {
      const std::int32_t row = 16 * warp_index() + lane_index() / 4 + 8 * (i / 2 % 2);
      const std::int32_t column = 8 * (i / 4) + lane_index() % 4 * 2 + i % 2;
      params.d[row * 2 * count + column] = d[i];
    }
  }
};

// The largest difference from float64.
template <typename Element, int count>
double layout_error(SharedSwizzle swizzle, std::uint32_t leading_bytes, std::uint32_t stride_bytes,
                    std::int32_t k_begin) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  simt::Buffer<std::uint16_t> a(64 * 16);
  simt::Buffer<std::uint16_t> b(2 * count * 16);
  simt::Buffer<float> d(64 * 2 * count);
  for (std::size_t i = 0; i < a.size(); ++i) {
    a[i] = from_float<Element>(normal(random)).bits;
  }
  for (std::size_t i = 0; i < b.size(); ++i) {
    b[i] = from_float<Element>(normal(random)).bits;
  }
  simt::Session session;
  using Kernel = LayoutKernel<Element, count>;
  LoadedKernels loaded;
  prepare_kernel<Kernel>(loaded);
  REQUIRE(launch<Kernel>({.threads = 128, .shared_bytes = Kernel::kSharedBytesMax},
                         {a.data(), b.data(), d.data(), swizzle, leading_bytes, stride_bytes, k_begin}, {}) == 0);
  CHECK(session.report() == "");
  double worst = 0;
  for (std::size_t row = 0; row < 64; ++row) {
    for (std::size_t column = 0; column < 2 * count; ++column) {
      double sum = 1.0;
      for (std::size_t k = 0; k < 16; ++k) {
        sum += static_cast<double>(to_float(Element{a[row * 16 + k]})) *
               static_cast<double>(to_float(Element{b[column * 16 + k]}));
      }
      worst = std::max(worst, std::abs(static_cast<double>(d[row * 2 * count + column]) - sum));
    }
  }
  return worst;
}

TEST_CASE("products of a warpgroup are the product, in every layout", "[simt]") {
  for (const std::int32_t k_begin : {0, 16, 32, 48}) {
    CHECK(layout_error<Bf16, 64>(SharedSwizzle::k128, 16, 1024, k_begin) < 1e-5);
    CHECK(layout_error<F16, 128>(SharedSwizzle::k128, 16, 1024, k_begin) < 1e-5);
  }
  CHECK(layout_error<Bf16, 128>(SharedSwizzle::k64, 16, 512, 0) < 1e-5);
  CHECK(layout_error<Bf16, 64>(SharedSwizzle::k64, 16, 512, 16) < 1e-5);
  CHECK(layout_error<F16, 64>(SharedSwizzle::k32, 16, 256, 0) < 1e-5);
  CHECK(layout_error<Bf16, 64>(SharedSwizzle::kNone, 128, 256, 0) < 1e-5);
}

TEST_CASE("a descriptor that says something else gives other numbers", "[simt]") {
  CHECK(layout_error<Bf16, 64>(SharedSwizzle::k128, 16, 512, 0) > 0.1);
  CHECK(layout_error<Bf16, 64>(SharedSwizzle::kNone, 256, 128, 0) > 0.1);
  CHECK(layout_error<Bf16, 64>(SharedSwizzle::kNone, 16, 256, 0) > 0.1);
}

// The fields, bit by bit.
TEST_CASE("descriptors hold what the manual says", "[simt]") {
  const std::uint64_t descriptor = std::uint64_t{1} << 62 | std::uint64_t{64} << 32 | std::uint64_t{1} << 16 | 128;
  CHECK(simt::descriptor_address(descriptor, 0, 0) == 2048);
  CHECK(simt::descriptor_address(descriptor, 1, 0) == (2048 + 128) + 16);  // piece 0 of row 1 lies at 1
  CHECK(simt::descriptor_address(descriptor, 1, 1) == 2048 + 128);
  CHECK(simt::descriptor_address(descriptor, 5, 0) == 2048 + 5 * 128 + 5 * 16);
  CHECK(simt::descriptor_address(descriptor, 9, 0) == 2048 + 1024 + 128 + 16);
  CHECK(simt::descriptor_address(descriptor + 2, 5, 0) == 2048 + 5 * 128 + (5 ^ 2) * 16);  // 16 columns on
  const std::uint64_t plain = std::uint64_t{16} << 32 | std::uint64_t{8} << 16 | 64;
  CHECK(simt::descriptor_address(plain, 9, 1) == 1024 + 256 + 128 + 16);
}

}  // namespace
}  // namespace coppice::kernels::cuda
