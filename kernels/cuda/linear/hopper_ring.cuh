// How a block of the large product on Hopper brings stages of 64 columns of K into its ring: the weight's piece, which
// lies in memory as it lies in shared memory (linear.h), by bulk copies that count their bytes at the stage's barrier;
// the rows of `in`, which no packing could have arranged, by cp.async. The ordinary copies become visible to the
// products kLag stages later: waited for, fenced, handed over.
#pragma once

#include <device/hopper.cuh>
#include <device/primitives.cuh>

#include "kernels/cuda/linear/tile.cuh"

namespace coppice::kernels::cuda {

template <typename Element>
struct LinearHopperParams {
  LinearParams<Element> linear;  // is_aligned, and in_features a multiple of 8
  std::int32_t weight_tiles;     // tiles of kLinearTileRows that the weight has
  bool stores_pairs;             // two neighbours of `out` may be written at once
};

// Number: Bf16 or F16. kColumns: 128 or 256.
template <typename Number, int kColumns>
struct LinearHopperRing {
  using Element = Number;
  using Params = LinearHopperParams<Element>;
  static constexpr std::int32_t kRows = 128;          // of an output tile: two warpgroups of m = 64
  static constexpr std::int32_t kGroupThreads = 128;  // of a warpgroup
  static constexpr std::int32_t kGroups = 2;          // that multiply
  // Of a block: the groups that multiply, and one that loads.
  static constexpr std::int32_t kThreadsMax = (kGroups + 1) * kGroupThreads;
  static constexpr std::int32_t kRowElements = kLinearBlockK;                       // of a row in a stage
  static constexpr std::int32_t kPieces = kRowElements / 8;                         // of 16 bytes in a row
  static constexpr std::int32_t kPatternBytes = 1024;                               // eight rows
  static constexpr std::int32_t kInElements = kRows * kRowElements;                 // of the input in a stage
  static constexpr std::int32_t kWeightElements = kColumns * kRowElements;          // of the weight in a stage
  static constexpr std::int32_t kStageBytes = (kInElements + kWeightElements) * 2;  // at 2 bytes an element
  // Of the ring: what fits in 227 KB of shared memory.
  static constexpr std::int32_t kStages = kColumns == 128 ? 6 : 4;
  static constexpr std::int32_t kLag = kStages / 2;                      // stages between a load and its announcement
  static constexpr std::int32_t kBarrierOffset = kStages * kStageBytes;  // behind the stages
  // Of a block: stages, and two barriers of 8 bytes each.
  static constexpr std::int32_t kSharedBytesMax = kBarrierOffset + 2 * kStages * 8;
  static constexpr std::int32_t kGroupM = 16;  // row tiles that share a range of columns
  static_assert(kSharedBytesMax <= 227 * 1024 && kStageBytes % kPatternBytes == 0);

  // --- the ring ---

  // Where in the ring a thread is: the stage, and whether the ring has been gone round an odd number of times.
  struct Turn {
    std::int32_t slot = 0;
    std::uint32_t round = 0;

    COPPICE_DEVICE void step() {
      ++slot;
      if (slot == kStages) {
        slot = 0;
        round ^= 1;
      }
    }
  };

  // Barrier: a stage's bytes have arrived.
  static COPPICE_DEVICE Shared<std::uint64_t> full(std::int32_t slot) {
    return shared_array<std::uint64_t>(kBarrierOffset) + slot;
  }
  // Barrier: the stage's products are done.
  static COPPICE_DEVICE Shared<std::uint64_t> empty(std::int32_t slot) { return full(kStages + slot); }
  static COPPICE_DEVICE Shared<Element> stage_in(std::int32_t slot) {
    return shared_array<Element>(slot * kStageBytes);
  }
  static COPPICE_DEVICE Shared<Element> stage_weight(std::int32_t slot) { return stage_in(slot) + kInElements; }

  // --- tiles ---

  // Blocks that read the same piece of the weight are neighbours, so that the cache serves all but one.
  static COPPICE_DEVICE LinearPlace place_of(const Params& params, std::int32_t tile) {
    const std::int32_t group_tiles = kGroupM * params.linear.column_tiles;
    const std::int32_t first = tile / group_tiles * kGroupM;
    const std::int32_t left = params.linear.row_tiles - first;
    const std::int32_t rows = left < kGroupM ? left : kGroupM;
    const std::int32_t within = tile % group_tiles;
    return {first + within % rows, within / rows, 0};
  }

  template <typename Visit>
  static COPPICE_DEVICE void for_each_tile(const Params& params, const Visit& visit) {
    const std::int32_t tiles = params.linear.row_tiles * params.linear.column_tiles;
    for (std::int32_t tile = block_index(); tile < tiles; tile += block_count()) {
      visit(place_of(params, tile));
    }
  }

  // --- bringing stages ---

  // One thread: copies the weight's piece. Beyond the last tile of the weight it copies that tile again; those results
  // are dropped.
  static COPPICE_DEVICE void bring_weight(const Params& params, const LinearPlace& place, std::int32_t block_k,
                                          std::int32_t slot) {
    constexpr std::int32_t kTileElements = kLinearTileRows * kRowElements;  // of a packed weight tile
    const std::int32_t k_blocks = params.linear.padded_k / kLinearBlockK;
    barrier_arrive_expecting(full(slot), kWeightElements * 2);
#pragma unroll
    for (std::int32_t i = 0; i < kColumns / kLinearTileRows; ++i) {
      std::int32_t tile = place.column_tile * (kColumns / kLinearTileRows) + i;
      tile = tile < params.weight_tiles ? tile : params.weight_tiles - 1;
      const std::int64_t from = (std::int64_t{tile} * k_blocks + block_k) * kTileElements;
      copy_bulk(stage_weight(slot) + i * kTileElements, params.linear.weight + from, kTileElements * 2, full(slot));
    }
  }

  // Rows of `in`, zeros beyond the matrix: a thread has one piece of every sixteenth row.
  static COPPICE_DEVICE void bring_in(const Params& params, const LinearPlace& place, std::int32_t block_k,
                                      std::int32_t slot) {
    constexpr std::int32_t kRowStep = kGroupThreads / kPieces;  // rows between two pieces of one thread
    const std::int32_t thread = thread_index() % kGroupThreads;
    const std::int32_t piece = thread % kPieces;
    const std::int32_t first = thread / kPieces;
    const std::int32_t k = block_k * kLinearBlockK + 8 * piece;
    const std::int32_t row_begin = place.row_tile * kRows + first;
    const std::int32_t rows = k < params.linear.in_features ? params.linear.output.rows : 0;
    const Global<const Element> from = params.linear.in + (row_begin * params.linear.in_stride + k);
    const Shared<Element> to = stage_in(slot) + (first * kRowElements + (piece ^ first % kPieces) * 8);
#pragma unroll
    for (std::int32_t i = 0; i < kRows / kRowStep; ++i) {
      const bool present = row_begin + i * kRowStep < rows;
      copy_async_16_or_zeros(to + i * kRowStep * kRowElements,
                             present ? from + i * kRowStep * params.linear.in_stride : params.linear.in, present);
    }
    copy_async_commit();
  }

  static COPPICE_DEVICE void bring(const Params& params) {
    const std::int32_t k_blocks = params.linear.padded_k / kLinearBlockK;
    const bool is_first = thread_index() % kGroupThreads == 0;
    Turn turn;
    Turn handed;  // kLag stages behind
    std::int32_t under_way = 0;
    for_each_tile(params, [&](const LinearPlace& place) {
      for (std::int32_t block_k = 0; block_k < k_blocks; ++block_k) {
        barrier_wait(empty(turn.slot), turn.round ^ 1U);
        if (is_first) {
          bring_weight(params, place, block_k, turn.slot);
        }
        bring_in(params, place, block_k, turn.slot);
        turn.step();
        if (under_way == kLag) {
          copy_async_wait<kLag>();
          fence_async_proxy();
          barrier_arrive(full(handed.slot));
          handed.step();
        } else {
          ++under_way;
        }
      }
    });
    copy_async_wait<0>();
    fence_async_proxy();
    for (; under_way > 0; --under_way) {
      barrier_arrive(full(handed.slot));
      handed.step();
    }
  }
};

}  // namespace coppice::kernels::cuda
