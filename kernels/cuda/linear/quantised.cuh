// Products with weights in few bits (quantised.h): tiles come through the ring as they are stored, and a lane makes the
// factors of a fragment from them in registers. Everything else is linear.cuh's.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/linear/linear.cuh"
#include "kernels/cuda/linear/quantised.h"

namespace coppice::kernels::cuda {

template <typename Element>
struct QuantisedParams : LinearParams<Element> {  // whose weight is not read
  Global<const std::uint32_t> tiles;
  std::int32_t tile_words;
  std::int32_t group_shift;  // steps of 16 columns that share a scale, as a power of two
  std::int32_t leasts;       // floats from a scale to its least; 0: there are none
  float zero;                // kWhole + the form's
};

// Of a number: scale · whole + least.
struct FactorScale {
  float scale;
  float least;
};

// What the bits of a number mean; the first two are unsigned whole numbers.
enum class FewBits : std::uint8_t { k4, k8, kFp8 };

// Number: Bf16 or F16.
template <typename Number, FewBits kMeaning>
struct QuantisedWeight {
  using Element = Number;
  using Params = QuantisedParams<Element>;
  static constexpr std::int32_t kBits = kMeaning == FewBits::k4 ? 4 : 8;  // of a number
  static constexpr bool kMayHaveLeast = kMeaning != FewBits::kFp8;
  // The largest: groups of 16 or 32 columns, with leasts where there may be some.
  static constexpr QuantisedForm kForm{
      .bits = kBits, .group = kMeaning == FewBits::k8 ? 16 : 32, .has_least = kMayHaveLeast};
  static constexpr std::int32_t kTileBytesMax = kForm.tile_bytes();   // bytes of a tile in the ring, in every form
  static constexpr std::int32_t kNumberBytes = kForm.number_bytes();  // bytes before a tile's scales, in every form
  static constexpr float kWhole = 8388608.0F;               // 2^23: a float that holds whole numbers in its lowest bits
  static constexpr std::uint32_t kWholeBits = 0x4B000000U;  // its bits

  template <int kTiles, int kThreads>
  static COPPICE_DEVICE void load(const Params& params, std::int32_t tile_begin, std::int32_t block_k,
                                  std::int32_t offset) {
    const std::int32_t k_blocks = params.padded_k / kLinearBlockK;
    const std::int32_t pieces = params.tile_words / 4;  // of 16 bytes
    for (std::int32_t tile = 0; tile < kTiles; ++tile) {
      const Shared<std::uint32_t> to = shared_array<std::uint32_t>(offset + tile * kTileBytesMax);
      const Global<const std::uint32_t> from =
          params.tiles + (std::int64_t{tile_begin + tile} * k_blocks + block_k) * params.tile_words;
      for (std::int32_t i = thread_index(); i < pieces; i += kThreads) {
        copy_async_16(to + 4 * i, from + 4 * i);
      }
    }
  }

  // A number that is not scaled yet.
  static COPPICE_DEVICE float number_of(const Params& params, std::uint32_t bits) {
    if constexpr (kMeaning == FewBits::kFp8) {
      // Exponent and fraction are those of a float of another bias, so a power of two makes the number, of subnormals
      // too.
      constexpr float kBias = 0x1.0p120F;  // 2^(127 - 7): the biases of float and E4M3
      return multiply(__builtin_bit_cast(float, (bits & 0x80U) << 24U | (bits & 0x7FU) << 20U), kBias);
    } else {
      return __builtin_bit_cast(float, kWholeBits | bits) - params.zero;
    }
  }

  // Bits [shift, shift + kBits) of the word and those after them, as factors.
  static COPPICE_DEVICE std::uint32_t pair_of(const Params& params, std::uint32_t word, std::int32_t shift,
                                              FactorScale scale) {
    constexpr std::uint32_t kMask = (1U << kBits) - 1U;  // bits of one number
    float values[2];
#pragma unroll
    for (std::int32_t i = 0; i < 2; ++i) {
      const std::uint32_t bits = word >> (shift + i * kBits) & kMask;
      values[i] = multiply(scale.scale, number_of(params, bits));
      if constexpr (kMayHaveLeast) {
        values[i] = values[i] + scale.least;
      }
    }
    return pack_halves<Element>(values[0], values[1]);
  }

  static COPPICE_DEVICE void fragment(const Params& params, std::int32_t offset, std::int32_t row_begin,
                                      std::int32_t step, std::uint32_t (&b)[4]) {
    const std::int32_t tile = offset + row_begin / kLinearTileRows * kTileBytesMax;
    const std::int32_t row = row_begin % kLinearTileRows;
    const std::int32_t place = (row / 16 * (kLinearBlockK / 16) + step) * kWarpLanes + lane_index();
    const Shared<const float> scales = shared_array<const float>(tile + kNumberBytes) +
                                       ((step >> params.group_shift) * kLinearTileRows + row + lane_index() / 4);
    const bool has_least = kMayHaveLeast && params.leasts != 0;
    const Shared<const float> leasts = scales + params.leasts;
    const FactorScale first{scales[0], has_least ? leasts[0] : 0.0F};
    const FactorScale second{scales[8], has_least ? leasts[8] : 0.0F};  // eight rows further
    if constexpr (kMeaning == FewBits::k4) {
      const std::uint32_t word = shared_array<const std::uint32_t>(tile)[place];
      b[0] = pair_of(params, word, 0, first);
      b[1] = pair_of(params, word, 8, first);
      b[2] = pair_of(params, word, 16, second);
      b[3] = pair_of(params, word, 24, second);
    } else {
      const auto words = load_as<Vector<std::uint32_t, 2>>(shared_array<const std::uint32_t>(tile) + 2 * place);
      b[0] = pair_of(params, words.at[0], 0, first);
      b[1] = pair_of(params, words.at[0], 16, first);
      b[2] = pair_of(params, words.at[1], 0, second);
      b[3] = pair_of(params, words.at[1], 16, second);
    }
  }
};

}  // namespace coppice::kernels::cuda
