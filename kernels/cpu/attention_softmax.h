// The softmax of a tile's rows over one split, and how it enters the rows' results. For attention_body.cc only;
// compiled once per instruction set.
#pragma once

#include "kernels/cpu/attention_tile.h"
#include "kernels/key_positions.h"
#include "kernels/online_softmax.h"

namespace coppice::kernels::cpu::COPPICE_ISA {
namespace {

// 2^(low bits of y), for y = 1.5 * 2^23 + n in float and whole n in [-127, 0]; 2^-127 counts as 0.
COPPICE_INLINE F32x16 power_of_rounded(F32x16 y) {
#if defined(__AVX512F__)
  const __m512i one = _mm512_set1_epi32(0x3F800000);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_slli_epi32(_mm512_castps_si512(y.v), 23), one))};
#elif defined(__AVX2__)
  const __m256i one = _mm256_set1_epi32(0x3F800000);
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(y.low), 23), one)),
          _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(y.high), 23), one))};
#else
  for (float& lane : y.lane) {
    lane = __builtin_bit_cast(float, (__builtin_bit_cast(std::uint32_t, lane) << 23) + 0x3F800000U);
  }
  return y;
#endif
}

// 2^a for a <= 0, relative error at most 5e-7; 2^0 = 1 and 2^-inf = 0 exactly, below 2^-126.5 it is 0; a NaN gives a
// NaN. a = n + r, |r| <= 1/2, and 1 + a polynomial in r (its greatest relative error made least by Remez exchange).
COPPICE_INLINE F32x16 power_of_two(F32x16 a) {
  a = maximum(broadcast(-127.0F), a);
  const F32x16 magic = broadcast(0x1.8p23F);
  const F32x16 rounded = add(a, magic);
  const F32x16 r = subtract(a, subtract(rounded, magic));
  F32x16 p = broadcast(0x1.23a608p-10F);
  p = multiply_add(p, r, broadcast(0x1.3cbea8p-7F));
  p = multiply_add(p, r, broadcast(0x1.c74322p-5F));
  p = multiply_add(p, r, broadcast(0x1.ebfa4ep-3F));
  p = multiply_add(p, r, broadcast(0x1.62e39ep-1F));
  p = multiply_add(p, r, broadcast(1.0F));
  return multiply(p, power_of_rounded(rounded));
}

// For softmax_merge(), where one of two exponents is 0.
COPPICE_INLINE float scalar_power_of_two(float a) {
  if (a == 0.0F) {
    return 1.0F;
  }
  float lanes[16];
  store(lanes, power_of_two(broadcast(a)));
  return lanes[0];
}

// m is in the scores' unit, log2 e times theirs: weights are 2^(score - m).
struct SplitSums {
  float m;
  float l;
};

// Puts -infinity in the place of scores outside [limit_begin, limit_end) of the split, where there are any.
COPPICE_INLINE void mask_scores(const Tile& tile, std::int32_t limit_begin, std::int32_t limit_end, float* scores) {
  for (std::int32_t block = tile.block_begin; block < tile.block_end; ++block) {
    const std::int32_t key = block * kBlockKeys;
    if (limit_begin > key || limit_end < key + kBlockKeys) {
      const std::int32_t begin = limit_begin - key;
      const std::int32_t end = limit_end - key;
      float* place = scores + block * kLanes;
      store(place, keep_lanes(load(place), begin < 0 ? 0 : begin > 16 ? 16 : begin, end < 0 ? 0 : end > 16 ? 16 : end));
    }
  }
}

// Turns scores into weights. Keys [limit_begin, limit_end) of the split are the row's; others get weight 0. unit: what
// a score is multiplied with, the scale and log2 e; >= 0.
template <typename Element>
SplitSums softmax_split(const Tile& tile, float unit, std::int32_t limit_begin, std::int32_t limit_end, float* scores,
                        std::uint32_t* weights) {
  if (limit_begin > tile.block_begin * kBlockKeys || limit_end < tile.block_end * kBlockKeys) {
    mask_scores(tile, limit_begin, limit_end, scores);
  }
  F32x16 highest = broadcast(-__builtin_inff());
  for (std::int32_t block = tile.block_begin; block < tile.block_end; ++block) {
    highest = maximum(highest, load(scores + block * kLanes));
  }
  const float m = largest(highest) * unit;
  const F32x16 shift = broadcast(m == -__builtin_inff() ? 0.0F : -m);
  const F32x16 units = broadcast(unit);
  F32x16 sums = zero();
  for (std::int32_t block = tile.block_begin; block < tile.block_end; block += 2) {
    const F32x16 first = power_of_two(multiply_add(load(scores + block * kLanes), units, shift));
    const F32x16 second = block + 1 < tile.block_end
                              ? power_of_two(multiply_add(load(scores + (block + 1) * kLanes), units, shift))
                              : zero();
    sums = Element::pack(sums, first, second, weights + block * (kBlockKeys / Element::kPerWord * Element::kParts));
  }
  return {m, sum(sums)};
}

// Takes the softmax of the tile's rows and decides how their sums enter the rows' results.
template <typename Element>
void softmax_rows(const AttentionCall& call, Resident& resident, Tile& tile, float* scores, std::uint32_t* weights) {
  constexpr float kLog2E = 1.44269504088896341F;  // log2(e): scores are kept for exponentials of base 2
  const float unit = call.scale * kLog2E;
  for (std::int32_t i = 0; i < tile.count; ++i) {
    const std::int32_t row = tile.row + i;
    const std::int32_t position = resident.position[row];
    const std::int32_t end = visible_end(position) < tile.split_end ? visible_end(position) : tile.split_end;
    const std::int32_t lowest = visible_begin(position, call.window);
    const std::int32_t begin = lowest > tile.split_begin ? lowest : tile.split_begin;
    const SplitSums split = softmax_split<Element>(tile, unit, begin - tile.split_begin, end - tile.split_begin,
                                                   scores + i * kSplitKeysMax, weights + i * kSplitKeysMax);
    if (split.m == -__builtin_inff()) {
      tile.mode[i] = Mode::kSkip;
    } else if (resident.m[row] == -__builtin_inff()) {
      tile.mode[i] = Mode::kReplace;
      resident.m[row] = split.m;
      resident.l[row] = split.l;
    } else {
      const SoftmaxMerge merge =
          softmax_merge(resident.m[row], split.m, [](float x) { return scalar_power_of_two(x); });
      tile.mode[i] = Mode::kBlend;
      tile.kept[i] = merge.kept;
      tile.added[i] = merge.added;
      resident.m[row] = merge.m;
      resident.l[row] = __builtin_fmaf(resident.l[row], merge.kept, split.l * merge.added);
    }
  }
}

}  // namespace
}  // namespace coppice::kernels::cpu::COPPICE_ISA
