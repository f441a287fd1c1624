// Rounding to half: every half comes back, and numbers between halves go to the nearer one.
#include "kernels/float16.h"

#include <catch2/catch.hpp>

#include "kernel_support.h"

namespace coppice::kernels::test {
namespace {

TEST_CASE("f32 rounds to the nearest half, ties to even, infinity beyond the largest", "[elementwise]") {
  std::int64_t wrong = 0;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = from_f16(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) {
      wrong += std::isnan(from_f16(float_to_f16(value))) ? 0 : 1;
      continue;
    }
    wrong += float_to_f16(value) == bits ? 0 : 1;
    // What surrounds it, and the half way to its neighbour with what surrounds that.
    const auto word = std::bit_cast<std::uint32_t>(value);
    for (const std::uint32_t tail : {0x0U, 0x1U, 0xFFFU, 0x1000U, 0x1001U, 0x1FFFU}) {
      const float near = std::bit_cast<float>(word + tail);
      wrong += std::isnan(near) || float_to_f16(near) == to_f16(near) ? 0 : 1;
    }
    const float half_way = value + std::copysign(0x1.0p-25F, value);  // of subnormal halves
    wrong += float_to_f16(half_way) == to_f16(half_way) ? 0 : 1;
  }
  CHECK(wrong == 0);
  CHECK(float_to_f16(65519.996F) == 0x7BFF);
  CHECK(float_to_f16(65520.0F) == 0x7C00);
  CHECK(float_to_f16(-1e30F) == 0xFC00);
  CHECK(float_to_f16(0x1.0p-25F) == 0);  // a tie with zero
  CHECK(float_to_f16(0x1.8p-25F) == 1);
}

}  // namespace
}  // namespace coppice::kernels::test
