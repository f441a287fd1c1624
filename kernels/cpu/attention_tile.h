// The inner loops of one tile: a few matrix rows against one split of keys. Scores, softmax, weighted values, merge
// into the rows' results. For attention_body.cc only; compiled once per instruction set.
#pragma once

#include "kernels/cpu/attention_body.h"
#include "kernels/cpu/attention_words.h"

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

// Where the blocks of a split are, and what to fetch meanwhile: its values while scores are computed, the keys of the
// next split while values are mixed, line by line, so that memory and arithmetic overlap (measured on Zen 5: 15-20 %
// for 4 to 8 rows; a single row only waits for memory, and fetching cost it 8 %).
struct Blocks {
  const std::uint32_t* keys[kSplitBlocksMax];
  const std::uint32_t* values[kSplitBlocksMax];
  const std::uint32_t* next_keys[kSplitBlocksMax];
};

template <int kRows>
COPPICE_INLINE void fetch(const std::uint32_t* line) {
  if constexpr (kRows > 1) {
    __builtin_prefetch(line, 0, 2);
  }
}

// --- scores: rows × blocks of sixteen keys ---

template <typename Element, int kRows, int kBlocks>
COPPICE_INLINE void score_blocks(const std::uint8_t* const* query, const std::uint32_t* const* keys,
                                 std::int64_t value_offset, std::int32_t steps, float* scores) {
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
      fetch<kRows>(keys[b] + step * kLanes + value_offset);
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

// Blocks [block, tile.block_end), kWidth at a time, and what is left at half the width.
template <typename Element, int kRows, int kWidth>
COPPICE_INLINE void score_from(std::int32_t block, const AttentionCall& call, const std::uint8_t* const* query,
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
  score_from<Element, kRows, kRows <= kWideRows ? kWideColumns : kColumns>(
      tile.block_begin, call, resident.query + tile.row, tile, blocks, scores);
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
    const std::uint32_t* next_keys = blocks.next_keys[block] + dim;
    const std::uint8_t* weight = reinterpret_cast<const std::uint8_t*>(weights + block * kSteps);
    for (std::int32_t step = 0; step < kSteps; ++step) {
      Words value[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        value[v] = load_words(values + v * kLanes);
        fetch<kRows>(next_keys + v * kLanes);
      }
      for (int r = 0; r < kRows; ++r) {
        const Words word = broadcast_word(weight + (r * kSplitKeysMax + step) * 4);
        for (int v = 0; v < kVectors; ++v) {
          acc[r][v] = Element::accumulate(acc[r][v], word, value[v]);
        }
      }
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
  mix_from<Element, kRows, kRows <= kWideRows ? kWideColumns : kColumns>(0, call, resident.o + tile.row, tile, blocks,
                                                                         weights);
}

}  // namespace
}  // namespace coppice::kernels::cpu::COPPICE_ISA
