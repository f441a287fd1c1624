// Products with weights in few bits (quantised.h): tiles come through the ring as they are stored, a lane makes the
// factors of a fragment from them in registers, and sums are scaled. Everything else is linear.cuh's.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/linear/linear.cuh"
#include "kernels/cuda/linear/quantised.h"

namespace coppice::kernels::cuda {

template <typename Element>
struct QuantisedParams : LinearParams<Element> {  // whose weight is not read
  Global<const std::uint32_t> tiles;
  std::int32_t tile_words;
  std::int32_t group_shift;       // steps of 16 columns that share a scale, as a power of two
  std::int32_t leasts;            // floats from a scale to its least
  std::uint32_t minus_zero_pair;  // of 4 bits: minus what FactorBits<Element>::kWhole adds, minus zero, twice
};

// What the bits of a number mean: unsigned whole numbers, of which 8 bits have their zero at 128, with leasts or
// without; or E4M3.
enum class FewBits : std::uint8_t { k4, k4Least, k8, k8Least, kFp8 };

// Numbers of a type, twice in a word.
template <typename Element>
struct FactorBits;
template <>
struct FactorBits<Bf16> {
  static constexpr std::uint32_t kOne = 0x3F803F80U;       // 1
  static constexpr std::uint32_t kWhole = 0x43004300U;     // 128: whole numbers below it fit in its lowest bits
  static constexpr std::uint32_t kFp8Scale = 0x7B807B80U;  // 2^(127 - 7): the biases of the exponents of bf16 and E4M3
};
template <>
struct FactorBits<F16> {
  static constexpr std::uint32_t kOne = 0x3C003C00U;       // 1
  static constexpr std::uint32_t kWhole = 0x64006400U;     // 1,024
  static constexpr std::uint32_t kFp8Scale = 0x5C005C00U;  // 2^(15 - 7)
};

// Number: Bf16 or F16.
template <typename Number, FewBits kMeaning>
struct QuantisedWeight {
  using Element = Number;
  using Params = QuantisedParams<Element>;
  using Bits = FactorBits<Element>;
  static constexpr bool kHasScales = true;
  static constexpr bool kHasLeast = kMeaning == FewBits::k4Least || kMeaning == FewBits::k8Least;
  static constexpr bool kHasFour = kMeaning == FewBits::k4 || kMeaning == FewBits::k4Least;  // bits; else 8
  // The largest: of groups of 16 or 32 columns.
  static constexpr QuantisedForm kForm{
      .bits = kHasFour ? 4 : 8, .group = kHasFour || kMeaning == FewBits::kFp8 ? 32 : 16, .has_least = kHasLeast};
  static constexpr std::int32_t kTileBytesMax = kForm.tile_bytes();   // bytes of a tile in the ring, in every form
  static constexpr std::int32_t kNumberBytes = kForm.number_bytes();  // bytes before a tile's scales, in every form

  template <int kTiles, int kThreads>
  static COPPICE_DEVICE void load(const Params& params, std::int32_t tile_begin, std::int32_t block_k,
                                  std::int32_t offset) {
    // Pieces of 16 bytes are numbered in 32 bits: a weight has less than 32 GiB.
    const std::int32_t k_blocks = params.padded_k / kLinearBlockK;
    const std::int32_t pieces = params.tile_words / 4;       // of 16 bytes
    constexpr std::int32_t kPiecesMax = kTileBytesMax / 16;  // the same in the largest form
#pragma unroll
    for (std::int32_t tile = 0; tile < kTiles; ++tile) {
      const Shared<std::uint32_t> to = shared_array<std::uint32_t>(offset + tile * kTileBytesMax);
      const std::int32_t first = ((tile_begin + tile) * k_blocks + block_k) * pieces;
#pragma unroll
      for (std::int32_t begin = 0; begin < kPiecesMax; begin += kThreads) {
        const std::int32_t i = begin + thread_index();
        if (i < pieces) {
          copy_async_16(to + 4 * i, params.tiles + std::int64_t{4} * (first + i));
        }
      }
    }
  }

  // The numbers of two bytes: bytes 2 pair and 2 pair + 1 of the word.
  static COPPICE_DEVICE std::uint32_t pair_of_bytes(std::uint32_t word, std::int32_t pair) {
    if constexpr (kMeaning == FewBits::kFp8) {
      // Exponent and fraction are those of the type with another bias, so a power of two makes the number.
      constexpr std::uint32_t kSigns = 0x80008000U;  // of both
      constexpr bool kIsBf16 = std::is_same_v<Element, Bf16>;
      constexpr std::uint32_t kRest = kIsBf16 ? 0x07F007F0U : 0x3F803F80U;  // where 7 bits of both go
      const std::uint32_t high = choose_bytes(word, 0, pair == 0 ? 0x1404U : 0x3424U);
      const std::uint32_t number = (high & kSigns) | (high >> (kIsBf16 ? 4 : 1) & kRest);
      return multiply_add_halves<Element>(number, Bits::kFp8Scale, 0);
    } else if constexpr (std::is_same_v<Element, F16>) {
      constexpr std::uint32_t kMinusZero = 0xE480E480U;  // -(1,024 + 128), twice
      const std::uint32_t whole = choose_bytes(word, Bits::kWhole >> 8U, pair == 0 ? 0x4140U : 0x4342U);
      return multiply_add_halves<Element>(whole, Bits::kOne, kMinusZero);
    } else {
      // Seven bits are 128 + them; the eighth says whether 128 or 256 is subtracted, as both are for zero's sake.
      constexpr std::uint32_t kEighth = 0x00800080U;    // of both
      constexpr std::uint32_t kMinus128 = 0xC300C300U;  // -128, twice; with kEighth -256
      const std::uint32_t bytes = choose_bytes(word, 0, pair == 0 ? 0x4140U : 0x4342U);
      return multiply_add_halves<Element>(masked_with(bytes, ~kEighth, Bits::kWhole), Bits::kOne,
                                          masked_with(~bytes, kEighth, kMinus128));
    }
  }

  // As DenseWeight's, not scaled.
  template <int kTiles>
  static COPPICE_DEVICE void fragment(const Params& params, std::int32_t offset, std::int32_t row_begin,
                                      std::int32_t step, std::uint32_t (&b)[4]) {
    const std::int32_t tile = offset + tile_of<kTiles>(row_begin) * kTileBytesMax;
    const std::int32_t row = row_begin - tile_of<kTiles>(row_begin) * kLinearTileRows;
    const std::int32_t place = (row / 16 * (kLinearBlockK / 16) + step) * kWarpLanes + lane_index();
    if constexpr (kHasFour) {
      constexpr std::uint32_t kPair = 0x000F000FU;  // two numbers of four bits
      const std::uint32_t word = shared_array<const std::uint32_t>(tile)[place];
#pragma unroll
      for (std::int32_t i = 0; i < 4; ++i) {
        b[i] = multiply_add_halves<Element>(masked_with(word >> (4 * i), kPair, Bits::kWhole), Bits::kOne,
                                            params.minus_zero_pair);
      }
    } else {
      const auto words = load_as<Vector<std::uint32_t, 2>>(shared_array<const std::uint32_t>(tile) + 2 * place);
      b[0] = pair_of_bytes(words.at[0], 0);
      b[1] = pair_of_bytes(words.at[0], 1);
      b[2] = pair_of_bytes(words.at[1], 0);
      b[3] = pair_of_bytes(words.at[1], 1);
    }
  }

  // Whether the group of columns ends behind step `step`.
  static COPPICE_DEVICE bool ends_group(const Params& params, std::int32_t step) {
    return ((step + 1) & ((1 << params.group_shift) - 1)) == 0;
  }

  // Where the scales of rows `row_begin` and the fifteen behind it are, in the group of step `step`; leasts are
  // params.leasts floats further.
  template <int kTiles>
  static COPPICE_DEVICE Shared<const float> scales(const Params& params, std::int32_t offset, std::int32_t row_begin,
                                                   std::int32_t step) {
    const std::int32_t tile = offset + tile_of<kTiles>(row_begin) * kTileBytesMax;
    const std::int32_t row = row_begin - tile_of<kTiles>(row_begin) * kLinearTileRows;
    return shared_array<const float>(tile + kNumberBytes) + ((step >> params.group_shift) * kLinearTileRows + row);
  }

  // LinearTileWork::multiply_stage for fragments n and n + 1. Work: the LinearTileWork.
  template <typename Work>
  static COPPICE_DEVICE void multiply_pair(const Params& params, std::int32_t slot, std::int32_t n,
                                           typename Work::Sums& sums) {
    constexpr std::int32_t kTilesM = Work::kTilesM;            // 16-row fragments of a warp
    constexpr std::int32_t kWeightTiles = Work::kWeightTiles;  // of the weight in a stage
    const Shared<const Element> stage = shared_array<Element>(slot * Work::kStageBytes);
    const std::int32_t weight_offset = slot * Work::kStageBytes + Work::kInBytes;
    const std::int32_t row_begin = warp_index() % Work::kWarpRows * kTilesM * 16;
    const std::int32_t column_begin = warp_index() / Work::kWarpRows * Work::kTilesN * 8 + 8 * n;
    const std::int32_t lane = lane_index();
    float group[kTilesM][2][4] = {};
    float input[kTilesM][4] = {};  // sums of a group's input, the same in all columns of a fragment
#pragma unroll
    for (std::int32_t step = 0; step < kLinearBlockK / 16; ++step) {
      std::uint32_t b[4];
      fragment<kWeightTiles>(params, weight_offset, column_begin, step, b);
#pragma unroll
      for (std::int32_t m = 0; m < kTilesM; ++m) {
        std::uint32_t a[4];
        load_matrix_x4(a, stage + Work::shared_place(row_begin + 16 * m + lane % 16, 2 * step + lane / 16));
        multiply_accumulate<Element>(group[m][0], a, b[0], b[1]);
        multiply_accumulate<Element>(group[m][1], a, b[2], b[3]);
        if constexpr (kHasLeast) {
          multiply_accumulate<Element>(input[m], a, Bits::kOne, Bits::kOne);
        }
      }
      if (!ends_group(params, step)) {
        continue;
      }
#pragma unroll
      for (std::int32_t half = 0; half < 2; ++half) {
        const Shared<const float> place =
            scales<kWeightTiles>(params, weight_offset, column_begin, step) + (8 * half + lane % 4 * 2);
        const auto scale = load_as<Vector<float, 2>>(place);
        Vector<float, 2> least = {};
        if constexpr (kHasLeast) {
          least = load_as<Vector<float, 2>>(place + params.leasts);
        }
#pragma unroll
        for (std::int32_t m = 0; m < kTilesM; ++m) {
#pragma unroll
          for (std::int32_t i = 0; i < 4; ++i) {
            float& sum = sums.at[m][n + half][i];
            sum = fmaf(scale.at[i % 2], group[m][half][i], sum);
            group[m][half][i] = 0.0F;
            if constexpr (kHasLeast) {
              sum = fmaf(least.at[i % 2], input[m][i], sum);
            }
          }
        }
      }
#pragma unroll
      for (std::int32_t m = 0; m < kTilesM; ++m) {
        for (std::int32_t i = 0; i < 4; ++i) {
          input[m][i] = 0.0F;
        }
      }
    }
  }

  template <typename Work>
  static COPPICE_DEVICE void multiply_stage(const Params& params, std::int32_t slot, typename Work::Sums& sums) {
#pragma unroll
    for (std::int32_t n = 0; n < Work::kTilesN; n += 2) {
      multiply_pair<Work>(params, slot, n, sums);
    }
  }
};

}  // namespace coppice::kernels::cuda
