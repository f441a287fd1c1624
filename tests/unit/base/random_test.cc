// The counter-based generator against the known-answer vectors published with Random123 (kat_vectors, philox4x32-10).
#include "base/random.h"

#include <catch2/catch.hpp>

using coppice::base::philox4x32;
using coppice::base::uniform01;

TEST_CASE("philox4x32-10 gives the published words", "[random]") {
  CHECK(philox4x32(0, 0, 0) == std::array<std::uint32_t, 4>{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U});
  CHECK(philox4x32(~0ULL, ~0ULL, ~0ULL) ==
        std::array<std::uint32_t, 4>{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU});
  CHECK(philox4x32(0x299f31d0a4093822ULL, 0x85a308d3243f6a88ULL, 0x0370734413198a2eULL) ==
        std::array<std::uint32_t, 4>{0xd16cfe09U, 0x94fdcceb, 0x5001e420U, 0x24126ea1U});
}

TEST_CASE("uniform01 stays in [0, 1) and has the right mean", "[random]") {
  double sum = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const float draw = uniform01(7, static_cast<std::uint64_t>(i), 1);
    REQUIRE(draw >= 0.0F);
    REQUIRE(draw < 1.0F);
    sum += draw;
  }
  CHECK(sum / kDraws == Approx(0.5).margin(0.005));
}
