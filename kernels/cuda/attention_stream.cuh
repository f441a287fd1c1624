// The stream of keys and values of a unit: which keys each warp has when, and their asynchronous copies.
//
// A block works in rounds. With one tile of sixteen rows every warp takes a split of its own (four splits a round),
// with two tiles two splits, with more one split: so a few rows keep all warps as busy as many do. A stage holds
// sixteen keys for every warp, each copied by one warp from one page (or slot by slot, for a drafted path).
#pragma once

#include <device/primitives.cuh>

#include "base/types.h"
#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/kv_layout.h"
#include "kernels/kv_split.h"

namespace coppice::kernels::cuda {

// How a block's warps are dealt over tiles of rows and splits. All powers of two.
struct WarpDeal {
  std::int32_t splits;  // side by side
  std::int32_t steps;   // of sixteen keys, of each split in a stage

  // Of this warp: the tile that it computes, the split of the round that it computes, …
  std::int32_t tile;
  std::int32_t split;
  // … and the split and the step whose keys it copies.
  std::int32_t copy_split;
  std::int32_t copy_step;
};

template <typename Shape>
COPPICE_DEVICE WarpDeal deal_warps(std::int32_t rows) {
  WarpDeal deal;
  deal.splits = rows <= kTileRows ? Shape::kWarps : rows <= 2 * kTileRows ? Shape::kWarps / 2 : 1;
  deal.steps = Shape::kWarps / deal.splits;
  const std::int32_t warp = warp_index();
  deal.tile = warp / deal.splits;
  deal.split = warp % deal.splits;
  deal.copy_split = warp / deal.steps;
  deal.copy_step = warp % deal.steps;
  return deal;
}

// Keys that the rows of a unit see of its item, and the splits that it must walk through.
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
    for (std::int32_t i = 0; i < deal.splits; ++i) {
      const std::int32_t count = split_steps(range, first_split + i).count;
      steps = count > steps ? count : steps;
    }
    stages = (steps + deal.steps - 1) / deal.steps;
  }
  COPPICE_DEVICE bool done(const KeyRange& range) const { return split >= range.split_end; }
  COPPICE_DEVICE bool last_of_round() const { return stage + 1 == stages; }
  COPPICE_DEVICE void advance(const KeyRange& range, const WarpDeal& deal) {
    if (last_of_round()) {
      begin_round(range, deal, split + deal.splits);
    } else {
      ++stage;
    }
  }
};

// The copying half, one a thread. Places (pages, slots) are read one stage ahead of their copies.
template <typename Shape>
struct KeyStream {
  using Number = typename Shape::Number;

  Global<const Number> cache;  // of the layer
  KvLayout layout;
  std::int32_t head;
  Global<const std::int32_t> places;  // of the item
  std::int32_t item_begin;            // key of places[0]
  std::int32_t item_end;
  bool by_slot;
  KeyRange range;
  WarpDeal deal;
  StageCursor cursor;
  std::int32_t next_key;  // this warp's step in the cursor's stage; -1: none
  std::int32_t next_place;

  COPPICE_DEVICE void start() {
    cursor.begin_round(range, deal, range.split_begin);
    find_next();
  }

  COPPICE_DEVICE void find_next() {
    next_key = -1;
    if (cursor.done(range)) {
      return;
    }
    const SplitSteps steps = split_steps(range, cursor.split + deal.copy_split);
    const std::int32_t step = cursor.stage * deal.steps + deal.copy_step;
    if (step >= steps.count) {
      return;
    }
    next_key = steps.first_key + step * kStepKeys;
    if (by_slot) {
      const std::int32_t key = next_key + lane_index() % kStepKeys;
      next_place = key < item_end ? static_cast<std::int32_t>(places[key - item_begin]) : -1;
    } else {
      next_place = places[(next_key - item_begin) / layout.page_size];
    }
  }

  // Starts the copies of the cursor's stage to `stage`, ends their group, and moves on. All lanes of the warp.
  COPPICE_DEVICE void copy(Shared<Number> stage) {
    if (next_key >= 0) {
      const Shared<Number> keys = stage + warp_index() * Shape::kTileElements;
      const Shared<Number> values = keys + Shape::kWarps * Shape::kTileElements;
      if (by_slot) {
        copy_slots(keys, values);
      } else {
        const std::int64_t place = std::int64_t{next_key % layout.page_size} * layout.head_dim;
        copy_rows(keys, layout.plane(0, next_place, head, KvLayout::kPlaneKey) + place);
        copy_rows(values, layout.plane(0, next_place, head, KvLayout::kPlaneValue) + place);
      }
    }
    copy_async_commit();
    if (!cursor.done(range)) {
      cursor.advance(range, deal);
      find_next();
    }
  }

  // Sixteen rows that lie one behind the other.
  COPPICE_DEVICE void copy_rows(Shared<Number> to, std::int64_t from) const {
#pragma unroll
    for (std::int32_t i = 0; i < Shape::kDepthSteps; ++i) {
      const std::int32_t chunk = i * kWarpLanes + lane_index();
      const std::int32_t row = chunk / (Shape::kDim / 8);
      const std::int32_t column = chunk % (Shape::kDim / 8) * 8;
      copy_async_16_or_zeros(to + row * Shape::kRowStride + column, cache + from + row * layout.head_dim + column,
                             column < layout.head_dim);
    }
  }

  COPPICE_DEVICE void copy_slots(Shared<Number> keys, Shared<Number> values) const {
    for (std::int32_t i = 0; i < Shape::kDepthSteps; ++i) {
      const std::int32_t chunk = i * kWarpLanes + lane_index();
      const std::int32_t row = chunk / (Shape::kDim / 8);
      const std::int32_t column = chunk % (Shape::kDim / 8) * 8;
      const std::int32_t slot = shuffle(next_place, row);
      const bool present = slot >= 0 && column < layout.head_dim;
      const std::int64_t key = present ? layout.token(0, slot, head, KvLayout::kPlaneKey) + column : 0;
      copy_async_16_or_zeros(keys + row * Shape::kRowStride + column, cache + key, present);
      copy_async_16_or_zeros(values + row * Shape::kRowStride + column, cache + key + layout.plane_elements(), present);
    }
  }
};

}  // namespace coppice::kernels::cuda
