// The inner loops of one tile: a few matrix rows against one split of keys. Scores, softmax, weighted values, merge
// into the rows' results. For attention_body.cc only; compiled once per instruction set.
#pragma once

#include "kernels/cpu/attention_body.h"
#include "kernels/cpu/attention_words.h"
#include "kernels/online_softmax.h"

namespace coppice::kernels::cpu::COPPICE_ISA {
namespace {

// Rows of a tile and vectors beside each other, as many as registers allow.
#if defined(__AVX512F__)
constexpr int kTileRows = 6;
constexpr int kWideColumns = 8;
constexpr int kWideRows = 3;  // tiles of up to so many rows take kWideColumns
constexpr int kColumns = 4;
#elif defined(__AVX2__)
constexpr int kTileRows = 3;
constexpr int kWideColumns = 4;
constexpr int kWideRows = 1;
constexpr int kColumns = 2;
#else
constexpr int kTileRows = 2;
constexpr int kWideColumns = 2;
constexpr int kWideRows = 1;
constexpr int kColumns = 1;
#endif
static_assert(kTileRows <= kTileRowsMax);

enum class Mode : std::uint8_t { kSkip, kReplace, kBlend };  // what a split does to a row's result

// Rows resident during an item: where their results are, and how far they see.
struct Resident {
  const std::uint8_t* query[kResidentRows];
  float* o[kResidentRows];
  float m[kResidentRows];
  float l[kResidentRows];
  std::int32_t position[kResidentRows];
  std::int32_t count;
  std::int32_t last_position;   // largest
  std::int32_t first_position;  // smallest
};

// One split for one tile: rows [row, row + count) of the resident ones, blocks [block_begin, block_end) of the split.
struct Tile {
  std::int32_t row;
  std::int32_t count;
  std::int32_t split_begin;
  std::int32_t split_end;
  std::int32_t block_begin;
  std::int32_t block_end;
  Mode mode[kTileRowsMax];
  float kept[kTileRowsMax];
  float added[kTileRowsMax];
};

struct Blocks {
  const std::uint32_t* keys[kSplitBlocksMax];
  const std::uint32_t* values[kSplitBlocksMax];
};

COPPICE_INLINE float scalar_exponential(float x) {
  float lanes[16];
  store(lanes, exponential(broadcast(x)));
  return lanes[0];
}

// --- scores: rows × blocks of sixteen keys ---

template <typename Element, int kRows, int kBlocks>
COPPICE_INLINE void score_blocks(const std::uint8_t* const* query, const std::uint32_t* const* keys, std::int32_t steps,
                                 float* scores) {
  F32x16 acc[kRows][kBlocks];
  for (int r = 0; r < kRows; ++r) {
    for (int b = 0; b < kBlocks; ++b) {
      acc[r][b] = zero();
    }
  }
  for (std::int32_t step = 0; step < steps; ++step) {
    Words key[kBlocks];
    for (int b = 0; b < kBlocks; ++b) {
      key[b] = load_words(keys[b] + step * kLanes);
    }
    for (int r = 0; r < kRows; ++r) {
      const Words word = broadcast_word(query[r] + step * 4);
      for (int b = 0; b < kBlocks; ++b) {
        acc[r][b] = Element::accumulate(acc[r][b], word, key[b]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int b = 0; b < kBlocks; ++b) {
      store(scores + r * kSplitKeysMax + b * kLanes, acc[r][b]);
    }
  }
}

template <typename Element, int kRows>
void score_rows(const AttentionCall& call, const Resident& resident, const Tile& tile, const Blocks& blocks,
                float* scores) {
  constexpr int kMost = kRows <= kWideRows ? kWideColumns : kColumns;
  const std::uint8_t* const* query = resident.query + tile.row;
  const std::int32_t steps = call.layout.steps;
  std::int32_t block = tile.block_begin;
  for (; block + kMost <= tile.block_end; block += kMost) {
    score_blocks<Element, kRows, kMost>(query, blocks.keys + block, steps, scores + block * kLanes);
  }
  if constexpr (kMost > 4) {
    for (; block + 4 <= tile.block_end; block += 4) {
      score_blocks<Element, kRows, 4>(query, blocks.keys + block, steps, scores + block * kLanes);
    }
  }
  if constexpr (kMost > 2) {
    for (; block + 2 <= tile.block_end; block += 2) {
      score_blocks<Element, kRows, 2>(query, blocks.keys + block, steps, scores + block * kLanes);
    }
  }
  for (; block < tile.block_end; ++block) {
    score_blocks<Element, kRows, 1>(query, blocks.keys + block, steps, scores + block * kLanes);
  }
}

// --- softmax of one row over one split ---

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

// --- weighted values: rows × vectors of sixteen dimensions ---

template <typename Element, int kRows, int kVectors>
COPPICE_INLINE void mix_vectors(const Tile& tile, const Blocks& blocks, const std::uint32_t* weights,
                                std::int32_t dim_lanes, std::int32_t dim, float* const* o) {
  constexpr std::int32_t kSteps = kBlockKeys / Element::kPerWord;
  F32x16 acc[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      acc[r][v] = zero();
    }
  }
  for (std::int32_t block = tile.block_begin; block < tile.block_end; ++block) {
    const std::uint32_t* values = blocks.values[block] + dim;
    const std::uint8_t* weight = reinterpret_cast<const std::uint8_t*>(weights + block * kSteps);
    for (std::int32_t step = 0; step < kSteps; ++step) {
      Words value[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        value[v] = load_words(values + v * kLanes);
      }
      for (int r = 0; r < kRows; ++r) {
        const Words word = broadcast_word(weight + (r * kSplitKeysMax + step) * 4);
        for (int v = 0; v < kVectors; ++v) {
          acc[r][v] = Element::accumulate(acc[r][v], word, value[v]);
        }
      }
      values += dim_lanes;
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      float* place = o[r] + dim + v * kLanes;
      if (tile.mode[r] == Mode::kReplace) {
        store(place, acc[r][v]);
      } else if (tile.mode[r] == Mode::kBlend) {
        store(place, multiply_add(load(place), broadcast(tile.kept[r]), multiply(acc[r][v], broadcast(tile.added[r]))));
      }
    }
  }
}

template <typename Element, int kRows>
void mix_rows(const AttentionCall& call, const Resident& resident, const Tile& tile, const Blocks& blocks,
              const std::uint32_t* weights) {
  constexpr int kMost = kRows <= kWideRows ? kWideColumns : kColumns;
  const std::int32_t dim_lanes = call.layout.dim_lanes;
  float* const* o = resident.o + tile.row;
  std::int32_t dim = 0;
  for (; dim + kMost * kLanes <= dim_lanes; dim += kMost * kLanes) {
    mix_vectors<Element, kRows, kMost>(tile, blocks, weights, dim_lanes, dim, o);
  }
  if constexpr (kMost > 4) {
    for (; dim + 4 * kLanes <= dim_lanes; dim += 4 * kLanes) {
      mix_vectors<Element, kRows, 4>(tile, blocks, weights, dim_lanes, dim, o);
    }
  }
  if constexpr (kMost > 2) {
    for (; dim + 2 * kLanes <= dim_lanes; dim += 2 * kLanes) {
      mix_vectors<Element, kRows, 2>(tile, blocks, weights, dim_lanes, dim, o);
    }
  }
  for (; dim < dim_lanes; dim += kLanes) {
    mix_vectors<Element, kRows, 1>(tile, blocks, weights, dim_lanes, dim, o);
  }
}

}  // namespace
}  // namespace coppice::kernels::cpu::COPPICE_ISA
