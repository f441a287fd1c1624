// Counter-based random numbers (Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11).
// A draw is a pure function of (seed, position, stream): no state, so the same request draws the same numbers whatever
// else runs, on every backend, with speculation on or off.
#pragma once

#include <array>
#include <cstdint>

namespace coppice::base {

// Four 32-bit words for the 128-bit counter (position, stream) under the 64-bit key `seed`.
constexpr std::array<std::uint32_t, 4> philox4x32(std::uint64_t seed, std::uint64_t position, std::uint64_t stream) {
  std::array<std::uint32_t, 4> counter = {static_cast<std::uint32_t>(position),
                                          static_cast<std::uint32_t>(position >> 32),
                                          static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)};
  std::uint32_t key0 = static_cast<std::uint32_t>(seed);
  std::uint32_t key1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = 0xD2511F53ULL * counter[0];
    const std::uint64_t product1 = 0xCD9E8D57ULL * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key0, static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key1, static_cast<std::uint32_t>(product0)};
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return counter;
}

// A uniform in [0, 1) with 24 bits, exactly representable in float32: the same on every backend.
constexpr float uniform01(std::uint64_t seed, std::uint64_t position, std::uint64_t stream) {
  return static_cast<float>(philox4x32(seed, position, stream)[0] >> 8) * 0x1.0p-24F;
}

}  // namespace coppice::base
