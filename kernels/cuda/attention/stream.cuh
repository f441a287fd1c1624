// The stream of keys and values of a unit: which keys each warp has at which stage, and their asynchronous copies.
//
// A block works in rounds. With one tile of sixteen rows each warp takes a split of its own (four splits per round),
// with two tiles two splits, with more one split: few rows keep all warps as busy as many rows do. One tile of rows
// with fewer splits than warps is worked on by all warps together: each scores its own sixteen keys of a stage and sums
// its own columns of the values of all of them. A stage holds sixteen keys for every warp, each copied by one warp from
// one page (or slot by slot, for a drafted path).
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/attention/params.cuh"
#include "kernels/cuda/attention/tile.cuh"
#include "kernels/key_positions.h"

namespace coppice::kernels::cuda {

// How a block's warps are distributed over tiles of rows, splits and columns. All counts are powers of two.
struct WarpDeal {
  std::int32_t warps_log2;
  std::int32_t splits_log2;
  std::int32_t shares_log2;  // warps that share the columns of a tile and a split

  COPPICE_DEVICE std::int32_t splits() const { return 1 << splits_log2; }  // side by side
  // Of sixteen keys, of each split in a stage.
  COPPICE_DEVICE std::int32_t steps() const { return 1 << (warps_log2 - splits_log2); }
  // What this warp computes: a tile of rows, a split of the round, a share of the columns; …
  COPPICE_DEVICE std::int32_t tile() const { return warp_index() >> (splits_log2 + shares_log2); }
  COPPICE_DEVICE std::int32_t split() const { return warp_index() >> shares_log2 & (splits() - 1); }
  COPPICE_DEVICE std::int32_t share() const { return warp_index() & ((1 << shares_log2) - 1); }
  // … and whose keys it copies: a split of the round, a step of the stage.
  COPPICE_DEVICE std::int32_t copy_split() const { return warp_index() >> (warps_log2 - splits_log2); }
  COPPICE_DEVICE std::int32_t copy_step() const { return warp_index() & (steps() - 1); }
};

// splits: that a unit of `rows` rows walks through.
template <typename Shape>
COPPICE_DEVICE WarpDeal deal_warps(std::int32_t rows, std::int32_t splits) {
  constexpr std::int32_t kLog2 = Shape::kWarps == 4 ? 2 : 1;  // of the warps of a block
  const AttentionDeal deal = deal_attention(kLog2, rows, splits, Shape::kSharesMax > 1);
  return {kLog2, deal.splits_log2, deal.shares_log2};
}

// The keys of its item that a unit's rows see, and the splits that it must walk through.
struct KeyRange {
  std::int32_t begin;  // a multiple of sixteen
  std::int32_t end;
  std::int32_t split_begin;
  std::int32_t split_end;
};

struct SplitSteps {
  std::int32_t first_key;
  std::int32_t count;  // steps of sixteen keys, the last one perhaps not full
};

COPPICE_DEVICE SplitSteps split_steps(const KeyRange& range, std::int32_t split) {
  const std::int32_t split_first = kv_split_position(split);
  const std::int32_t split_end = kv_split_position(split + 1);
  const std::int32_t begin = split_first > range.begin ? split_first : range.begin;
  const std::int32_t end = split_end < range.end ? split_end : range.end;
  return {begin, split < range.split_end && end > begin ? (end - begin + kStepKeys - 1) / kStepKeys : 0};
}

// A stage of a round. The reader and the copier each walk through all stages in order.
struct StageCursor {
  std::int32_t split;   // first of the round; range.split_end: the end
  std::int32_t stage;   // in the round
  std::int32_t stages;  // of the round, at least one

  COPPICE_DEVICE void begin_round(const KeyRange& range, const WarpDeal& deal, std::int32_t first_split) {
    split = first_split;
    stage = 0;
    std::int32_t steps = 1;
    for (std::int32_t i = 0; i < deal.splits(); ++i) {
      const std::int32_t count = split_steps(range, first_split + i).count;
      steps = count > steps ? count : steps;
    }
    stages = (steps + deal.steps() - 1) >> (deal.warps_log2 - deal.splits_log2);
  }
  COPPICE_DEVICE bool done(const KeyRange& range) const { return split >= range.split_end; }
  COPPICE_DEVICE bool last_of_round() const { return stage + 1 == stages; }
  COPPICE_DEVICE void advance(const KeyRange& range, const WarpDeal& deal) {
    if (last_of_round()) {
      begin_round(range, deal, split + deal.splits());
    } else {
      ++stage;
    }
  }
};

// The copying half; each thread has one. Places (pages, slots) are read one stage ahead of their copies. The item is
// read from shared memory each time, to save registers.
template <typename Shape>
struct KeyStream {
  using Number = typename Shape::Number;
  using Params = AttentionParams<Number>;

  KeyRange range;
  WarpDeal deal;
  std::int32_t head;
  StageCursor cursor;
  std::int32_t next_key;  // this warp's step in the cursor's stage; -1: none
  std::int32_t next_place;

  COPPICE_DEVICE KeyStream(const Params& params, const KeyRange& unit_range, const WarpDeal& unit_deal,
                           std::int32_t key_head)
      : range(unit_range), deal(unit_deal), head(key_head) {
    cursor.begin_round(range, deal, range.split_begin);
    find_next(params);
  }

  COPPICE_DEVICE void find_next(const Params& params) {
    next_key = -1;
    if (cursor.done(range)) {
      return;
    }
    const SplitSteps steps = split_steps(range, cursor.split + deal.copy_split());
    const std::int32_t step = cursor.stage * deal.steps() + deal.copy_step();
    if (step >= steps.count) {
      return;
    }
    const DeviceItem item = unit_item();
    next_key = steps.first_key + step * kStepKeys;
    if (item.by_slot != 0) {
      const std::int32_t key = next_key + lane_index() % kStepKeys;
      next_place = -1;
      if (key < item.key_end) {
        next_place = params.plan[item.places + key - item.key_begin];
      }
    } else {
      next_place = params.plan[item.places + ((next_key - item.key_begin) >> params.page_shift)];
    }
  }

  // Starts the copies of the cursor's stage to `stage`, ends their group, and advances. All lanes of the warp call it.
  COPPICE_DEVICE void copy(const Params& params, Shared<Number> stage) {
    if (next_key >= 0) {
      const Shared<Number> keys = stage + warp_index() * Shape::kTileElements;
      const Shared<Number> values = keys + Shape::kWarps * Shape::kTileElements;
      if (unit_item().by_slot != 0) {
        copy_slots(params, keys, values);
      } else {
        const std::int32_t row = next_key & ((1 << params.page_shift) - 1);  // of the page
        const std::int64_t from = place_of(params, next_place, row);
        copy_rows(params, keys, from);
        copy_rows(params, values, from + plane_elements(params));
      }
    }
    copy_async_commit();
    if (!cursor.done(range)) {
      cursor.advance(range, deal);
      find_next(params);
    }
  }

  // Returns the first element of a key of a page; its value is plane_elements() further.
  COPPICE_DEVICE std::int64_t place_of(const Params& params, PageId page, std::int32_t row) const {
    return page * params.page_elements + head * params.head_elements +
           std::int64_t{row} * Shape::head_dim(params.layout);
  }
  static COPPICE_DEVICE std::int64_t plane_elements(const Params& params) {
    return std::int64_t{Shape::head_dim(params.layout)} << params.page_shift;
  }

  // Where this lane's pieces of sixteen rows are: piece i is kPassRows rows below piece i - 1, so that only the first
  // place is computed; where a row has no whole fraction of the warp's pieces, each place is.
  static constexpr std::int32_t kRowChunks = Shape::kDim / Shape::kChunk;  // asynchronous copies that bring a row
  static constexpr bool kWholePasses = kWarpLanes % kRowChunks == 0;
  static constexpr std::int32_t kPassRows =
      kWholePasses ? kWarpLanes / kRowChunks : 0;  // rows that a warp brings at once
  static COPPICE_DEVICE std::int32_t piece_row(std::int32_t i) {
    return kWholePasses ? i * kPassRows + lane_index() / kRowChunks : (i * kWarpLanes + lane_index()) / kRowChunks;
  }
  static COPPICE_DEVICE std::int32_t piece_column(std::int32_t i) {
    return (kWholePasses ? lane_index() % kRowChunks : (i * kWarpLanes + lane_index()) % kRowChunks) * Shape::kChunk;
  }

  // Copies sixteen contiguous rows.
  COPPICE_DEVICE void copy_rows(const Params& params, Shared<Number> to, std::int64_t from) const {
    const std::int32_t head_dim = Shape::head_dim(params.layout);
    if constexpr (kWholePasses) {
      const std::int32_t column = piece_column(0);
      const Shared<Number> first_to = to + piece_row(0) * Shape::kRowStride + column;
      const Global<const Number> first_from = params.cache + (from + piece_row(0) * head_dim + column);
#pragma unroll
      for (std::int32_t i = 0; i < Shape::kDepthSteps; ++i) {
        copy_async_16_or_zeros(first_to + i * kPassRows * Shape::kRowStride, first_from + i * kPassRows * head_dim,
                               column < head_dim);
      }
    } else {
#pragma unroll
      for (std::int32_t i = 0; i < Shape::kDepthSteps; ++i) {
        copy_async_16_or_zeros(to + piece_row(i) * Shape::kRowStride + piece_column(i),
                               params.cache + (from + piece_row(i) * head_dim + piece_column(i)),
                               piece_column(i) < head_dim);
      }
    }
  }

  COPPICE_DEVICE void copy_slots(const Params& params, Shared<Number> keys, Shared<Number> values) const {
    for (std::int32_t i = 0; i < Shape::kDepthSteps; ++i) {
      const std::int32_t row = piece_row(i);
      const std::int32_t column = piece_column(i);
      const std::int32_t slot = shuffle(next_place, row);
      const bool present = slot >= 0 && column < Shape::head_dim(params.layout);
      const std::int32_t page_row = slot & ((1 << params.page_shift) - 1);
      const std::int64_t key = present ? place_of(params, slot >> params.page_shift, page_row) + column : 0;
      copy_async_16_or_zeros(keys + row * Shape::kRowStride + column, params.cache + key, present);
      copy_async_16_or_zeros(values + row * Shape::kRowStride + column, params.cache + key + plane_elements(params),
                             present);
    }
  }
};

}  // namespace coppice::kernels::cuda
