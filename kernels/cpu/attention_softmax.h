// The softmax of a tile's rows over one split, and how it enters the rows' results. For attention_body.cc only;
// compiled once per instruction set.
#pragma once

#include "kernels/cpu/attention_tile.h"
#include "kernels/online_softmax.h"

namespace coppice::kernels::cpu::COPPICE_ISA {
namespace {

COPPICE_INLINE float scalar_exponential(float x) {
  float lanes[16];
  store(lanes, exponential(broadcast(x)));
  return lanes[0];
}

struct SplitSums {
  float m;
  float l;
};

// Turns scores into weights. Keys [limit_begin, limit_end) of the split are the row's; others get weight 0.
template <typename Element>
SplitSums soften(const Tile& tile, float scale, std::int32_t limit_begin, std::int32_t limit_end, float* scores,
                 std::uint32_t* weights) {
  const F32x16 minus_infinity = broadcast(-__builtin_inff());
  F32x16 highest = minus_infinity;
  for (std::int32_t block = tile.block_begin; block < tile.block_end; ++block) {
    float* place = scores + block * kLanes;
    F32x16 score = multiply(load(place), broadcast(scale));
    const std::int32_t key = block * kBlockKeys;
    if (limit_begin > key || limit_end < key + kBlockKeys) {
      const std::int32_t begin = limit_begin - key;
      const std::int32_t end = limit_end - key;
      score = keep_lanes(score, begin < 0 ? 0 : begin > 16 ? 16 : begin, end < 0 ? 0 : end > 16 ? 16 : end);
    }
    store(place, score);
    highest = maximum(highest, score);
  }
  const float m = largest(highest);
  const F32x16 shift = broadcast(m == -__builtin_inff() ? 0.0F : m);
  F32x16 sums = zero();
  for (std::int32_t block = tile.block_begin; block < tile.block_end; block += 2) {
    const F32x16 first = exponential(subtract(load(scores + block * kLanes), shift));
    const F32x16 second =
        block + 1 < tile.block_end ? exponential(subtract(load(scores + (block + 1) * kLanes), shift)) : zero();
    sums = Element::pack(sums, first, second, weights + block * (kBlockKeys / Element::kPerWord));
  }
  return {m, sum(sums)};
}

// Softens the tile's rows and decides how their sums enter the rows' results.
template <typename Element>
void soften_rows(const AttentionCall& call, Resident& resident, Tile& tile, float* scores, std::uint32_t* weights) {
  for (std::int32_t i = 0; i < tile.count; ++i) {
    const std::int32_t row = tile.row + i;
    const std::int32_t position = resident.position[row];
    const std::int32_t end = position + 1 < tile.split_end ? position + 1 : tile.split_end;
    const std::int32_t lowest = call.window > 0 ? position - call.window + 1 : 0;
    const std::int32_t begin = lowest > tile.split_begin ? lowest : tile.split_begin;
    const SplitSums split = soften<Element>(tile, call.scale, begin - tile.split_begin, end - tile.split_begin,
                                            scores + i * kSplitKeysMax, weights + i * kSplitKeysMax);
    if (split.m == -__builtin_inff()) {
      tile.mode[i] = Mode::kSkip;
    } else if (resident.m[row] == -__builtin_inff()) {
      tile.mode[i] = Mode::kReplace;
      resident.m[row] = split.m;
      resident.l[row] = split.l;
    } else {
      const SoftmaxMerge merge = softmax_merge(resident.m[row], split.m, [](float x) { return scalar_exponential(x); });
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
