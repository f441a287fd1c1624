// The inner loops of one tile: a few matrix rows against one split of keys. Scores, softmax, weighted values, merge
// into the rows' results. For attention_body.cc only; compiled once per instruction set.
#pragma once

#include "kernels/cpu/attention_body.h"
#include "kernels/cpu/attention_elements.h"

namespace coppice::kernels::cpu::COPPICE_ISA {
namespace {

// Rows of a tile, and the vectors (blocks of keys, or of sixteen dimensions) beside each other: as many sums as
// registers hold, at least as many as hide the latency of a multiply-add. Derived from register counts, not measured.
#if defined(__AVX512F__)
constexpr int kTileRows = 6;  // matrix rows: sums, keys and a weight fill the registers
constexpr int columns_of(int rows) {
  return rows <= 3 ? 8 : 4;
}
#elif defined(__AVX2__)
constexpr int kTileRows = 6;  // matrix rows: sums, keys and a weight fill the registers
constexpr int columns_of(int rows) {
  return rows == 1 ? 4 : rows <= 3 ? 2 : 1;
}
#else
constexpr int kTileRows = 2;  // matrix rows: sums, keys and a weight fill the registers
constexpr int columns_of(int rows) {
  return rows == 1 ? 2 : 1;
}
#endif
static_assert(kTileRows <= kTileRowsMax);

enum class Mode : std::uint8_t { kSkip, kReplace, kBlend };  // what a split does to a row's result

// Rows resident during an item: where their results are, and which keys they see.
struct Resident {
  const std::uint32_t* query[kResidentRows];  // units (attention_elements.h)
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

// Where the blocks of a split are, and what to prefetch line by line: its values while scores are computed, the keys of
// the next split while values are summed, so that memory and arithmetic overlap. Measured: on Zen 4 (AVX2) a single row
// reads 2.1 times as fast; on Zen 5 (AVX-512) 4 to 8 rows gain 15-20 %, but a single row lost 8 %.
struct Blocks {
  const std::uint32_t* keys[kSplitBlocksMax];
  const std::uint32_t* values[kSplitBlocksMax];
  const std::uint32_t* next_keys[kSplitBlocksMax];
};

#if defined(__AVX512F__)
constexpr int kFetchRowsLeast = 2;  // matrix rows from which to prefetch: see Blocks
#else
constexpr int kFetchRowsLeast = 1;  // matrix rows from which to prefetch: see Blocks
#endif

template <int kRows>
COPPICE_INLINE void fetch(const std::uint32_t* line) {
  if constexpr (kRows >= kFetchRowsLeast) {
    __builtin_prefetch(line, 0, 2);
  }
}

// --- scores: rows × blocks of sixteen keys ---

// Adds one part of a word's products, for all rows and blocks.
template <typename Element, int kPart, int kRows, int kColumns>
COPPICE_INLINE void accumulate_part(F32x16 (&acc)[kRows][kColumns], const std::uint32_t* const* units,
                                    const std::uint32_t* const* words) {
  decltype(Element::template part<kPart>(Words{})) columns[kColumns];
  for (int c = 0; c < kColumns; ++c) {
    columns[c] = Element::template part<kPart>(load_words(words[c]));
  }
  for (int r = 0; r < kRows; ++r) {
    const auto unit = Element::broadcast_unit(units[r] + kPart);
    for (int c = 0; c < kColumns; ++c) {
      acc[r][c] = Element::accumulate(acc[r][c], unit, columns[c]);
    }
  }
}

// Adds parts [kPart, Element::kParts) of a word's products, in their order.
template <typename Element, int kPart = 0, int kRows, int kColumns>
COPPICE_INLINE void accumulate_word(F32x16 (&acc)[kRows][kColumns], const std::uint32_t* const* units,
                                    const std::uint32_t* const* words) {
  accumulate_part<Element, kPart>(acc, units, words);
  if constexpr (kPart + 1 < Element::kParts) {
    accumulate_word<Element, kPart + 1>(acc, units, words);
  }
}

template <typename Element, int kRows, int kBlocks>
COPPICE_INLINE void score_blocks(const std::uint32_t* const* query, const std::uint32_t* const* keys,
                                 std::int64_t value_offset, std::int32_t steps, float* scores) {
  F32x16 acc[kRows][kBlocks];
  for (int r = 0; r < kRows; ++r) {
    for (int b = 0; b < kBlocks; ++b) {
      acc[r][b] = zero();
    }
  }
  for (std::int32_t step = 0; step < steps; ++step) {
    const std::uint32_t* units[kRows];
    const std::uint32_t* words[kBlocks];
    for (int r = 0; r < kRows; ++r) {
      units[r] = query[r] + step * Element::kParts;
    }
    for (int b = 0; b < kBlocks; ++b) {
      words[b] = keys[b] + step * kLanes;
      fetch<kRows>(words[b] + value_offset);
    }
    accumulate_word<Element>(acc, units, words);
  }
  for (int b = 0; b < kBlocks; ++b) {
    const auto scales = Element::scales(keys[b] + steps * kLanes);
    for (int r = 0; r < kRows; ++r) {
      store(scores + r * kSplitKeysMax + b * kLanes, Element::scaled(acc[r][b], scales));
    }
  }
}

// Scores blocks [block, tile.block_end), kWidth at a time, the remainder at half the width.
template <typename Element, int kRows, int kWidth>
COPPICE_INLINE void score_from(std::int32_t block, const AttentionCall& call, const std::uint32_t* const* query,
                               const Tile& tile, const Blocks& blocks, float* scores) {
  // From a K block to its V block, if head_dim fills whole vectors.
  const std::int64_t value_offset = std::int64_t{call.layout.page_blocks} * call.layout.key_block_words;
  for (; block + kWidth <= tile.block_end; block += kWidth) {
    score_blocks<Element, kRows, kWidth>(query, blocks.keys + block, value_offset, call.layout.steps,
                                         scores + block * kLanes);
  }
  if constexpr (kWidth > 1) {
    score_from<Element, kRows, kWidth / 2>(block, call, query, tile, blocks, scores);
  }
}

template <typename Element, int kRows>
void score_rows(const AttentionCall& call, const Resident& resident, const Tile& tile, const Blocks& blocks,
                float* scores) {
  score_from<Element, kRows, columns_of(kRows)>(tile.block_begin, call, resident.query + tile.row, tile, blocks,
                                                scores);
}

// --- weighted values: rows × vectors of sixteen dimensions ---

template <typename Element, int kRows, int kVectors>
COPPICE_INLINE void mix_vectors(const Tile& tile, const Blocks& blocks, const std::uint32_t* weights,
                                std::int32_t dim_lanes, std::int32_t dim, float* const* o) {
  constexpr std::int32_t kSteps = kBlockKeys / Element::kPerWord;  // words of a block's keys
  F32x16 acc[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      acc[r][v] = zero();
    }
  }
  for (std::int32_t block = tile.block_begin; block < tile.block_end; ++block) {
    const std::uint32_t* values = blocks.values[block] + dim;
    const std::uint32_t* next_keys = blocks.next_keys[block] + dim;
    const std::uint32_t* weight = weights + block * kSteps * Element::kParts;
    for (std::int32_t step = 0; step < kSteps; ++step) {
      const std::uint32_t* units[kRows];
      const std::uint32_t* words[kVectors];
      for (int r = 0; r < kRows; ++r) {
        units[r] = weight + r * kSplitKeysMax + step * Element::kParts;
      }
      for (int v = 0; v < kVectors; ++v) {
        words[v] = values + v * kLanes;
        fetch<kRows>(next_keys + v * kLanes);
      }
      accumulate_word<Element>(acc, units, words);
      values += dim_lanes;
      next_keys += dim_lanes;
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

template <typename Element, int kRows, int kWidth>
COPPICE_INLINE void mix_from(std::int32_t dim, const AttentionCall& call, float* const* o, const Tile& tile,
                             const Blocks& blocks, const std::uint32_t* weights) {
  const std::int32_t dim_lanes = call.layout.dim_lanes;
  for (; dim + kWidth * kLanes <= dim_lanes; dim += kWidth * kLanes) {
    mix_vectors<Element, kRows, kWidth>(tile, blocks, weights, dim_lanes, dim, o);
  }
  if constexpr (kWidth > 1) {
    mix_from<Element, kRows, kWidth / 2>(dim, call, o, tile, blocks, weights);
  }
}

template <typename Element, int kRows>
void mix_rows(const AttentionCall& call, const Resident& resident, const Tile& tile, const Blocks& blocks,
              const std::uint32_t* weights) {
  mix_from<Element, kRows, columns_of(kRows)>(0, call, resident.o + tile.row, tile, blocks, weights);
}

}  // namespace
}  // namespace coppice::kernels::cpu::COPPICE_ISA
