// One unit of attention: a block of an item's rows, one key head, all keys of the item that the rows see.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/attention/params.cuh"
#include "kernels/cuda/attention/stream.cuh"
#include "kernels/cuda/attention/tile.cuh"
#include "kernels/key_positions.h"

namespace coppice::kernels::cuda {

template <typename Shape>
struct AttentionUnit {
  using Number = typename Shape::Number;
  using Params = AttentionParams<Number>;

  std::int32_t key_head;
  std::int32_t row_begin;  // first matrix row of the block, in the item
  std::int32_t rows;       // of the block
  WarpDeal deal;
  KeyRange range;
  RowLimits limits;

  // All threads call it. REQUIRES: no thread still reads the unit_item() before it.
  COPPICE_DEVICE AttentionUnit(const Params& params, const DevicePlanHeader& header, std::int32_t work)
      : key_head(work % params.layout.key_heads) {
    const DeviceUnit unit = load_unit(params, header, work);
    constexpr std::int32_t kBlockRows = Shape::kWarps * kTileRows;  // matrix rows of a block
    row_begin = unit.block * kBlockRows;
    const std::int32_t left = unit_item().row_count * params.group - row_begin;
    rows = left < kBlockRows ? left : kBlockRows;
    find_range(params, header);
    deal = deal_warps<Shape>(rows, range.split_end - range.split_begin);
    find_limits(params, header);
  }

  // One of this lane's two rows (`half` 0 or 1) of its warp's sixteen.
  struct Row {
    std::int32_t token;  // token row in the item; -1: padding
    std::int32_t head;   // query head
  };
  COPPICE_DEVICE Row row(const Params& params, std::int32_t half) const {
    const std::int32_t place = deal.tile() * kTileRows + half * 8 + lane_index() / 4;
    return {place < rows ? (row_begin + place) / params.group : -1,
            key_head * params.group + (row_begin + place) % params.group};
  }

  // Finds the keys that some row of the block sees.
  COPPICE_DEVICE void find_range(const Params& params, const DevicePlanHeader& header) {
    const DeviceItem item = unit_item();
    const Global<const std::int32_t> positions = params.plan + header.row_positions + item.row_begin;
    const std::int32_t last_token = (row_begin + rows - 1) / params.group;
    std::int32_t first = 0x7FFFFFFF;
    std::int32_t last = -1;
    for (std::int32_t i = row_begin / params.group + lane_index(); i <= last_token; i += kWarpLanes) {
      const std::int32_t position = positions[i];
      first = position < first ? position : first;
      last = position > last ? position : last;
    }
    for (std::int32_t mask = kWarpLanes / 2; mask > 0; mask /= 2) {
      const std::int32_t other_first = shuffle_xor(first, mask);
      const std::int32_t other_last = shuffle_xor(last, mask);
      first = other_first < first ? other_first : first;
      last = other_last > last ? other_last : last;
    }
    std::int32_t begin = visible_begin(first, header.window);
    begin = begin > item.key_begin ? begin / kStepKeys * kStepKeys : item.key_begin;
    range.begin = begin;
    range.end = visible_end(last) < item.key_end ? visible_end(last) : item.key_end;
    if (item.folds != 0) {  // splits that no row sees change nothing
      range.split_begin = kv_split_index(begin);
      range.split_end = range.end > begin ? kv_split_index(range.end - 1) + 1 : range.split_begin;
    } else {  // each leaves a partial
      range.split_begin = kv_split_index(item.key_begin);
      range.split_end = kv_split_index(item.key_end - 1) + 1;
    }
  }

  COPPICE_DEVICE void find_limits(const Params& params, const DevicePlanHeader& header) {
    const DeviceItem item = unit_item();
    const Global<const std::int32_t> positions = params.plan + header.row_positions + item.row_begin;
    limits.all_end = 0x7FFFFFFF;
    limits.all_lowest = 0;
#pragma unroll
    for (std::int32_t half = 0; half < 2; ++half) {
      const std::int32_t token = row(params, half).token;
      limits.end[half] = 0;
      limits.lowest[half] = 0;
      if (token >= 0) {
        const std::int32_t position = positions[token];
        limits.end[half] = visible_end(position) < item.key_end ? visible_end(position) : item.key_end;
        limits.lowest[half] = visible_begin(position, header.window);
        limits.all_end = limits.end[half] < limits.all_end ? limits.end[half] : limits.all_end;
        limits.all_lowest = limits.lowest[half] > limits.all_lowest ? limits.lowest[half] : limits.all_lowest;
      }
    }
    for (std::int32_t mask = 4; mask < kWarpLanes; mask *= 2) {
      const std::int32_t other_end = shuffle_xor(limits.all_end, mask);
      const std::int32_t other_lowest = shuffle_xor(limits.all_lowest, mask);
      limits.all_end = other_end < limits.all_end ? other_end : limits.all_end;
      limits.all_lowest = other_lowest > limits.all_lowest ? other_lowest : limits.all_lowest;
    }
  }

  // Returns whether this warp has rows.
  COPPICE_DEVICE bool computes() const {
    return deal.tile() * kTileRows < rows;
  }
  // Returns whether the block's warps share the columns of their rows.
  COPPICE_DEVICE bool is_shared() const {
    return deal.shares_log2 > 0;
  }
  // Returns the first of the columns that this lane has in column tile n of its warp's fragment.
  template <typename Fragment>
  COPPICE_DEVICE std::int32_t fragment_column(std::int32_t n) const {
    return (deal.share() * Fragment::kColumnTiles + n) * 8 + lane_index() % 4 * 2;
  }
  // Returns whether this warp holds its rows' results.
  COPPICE_DEVICE bool holds_total() const {
    return deal.split() == 0 && computes();
  }

  template <typename Query>
  COPPICE_DEVICE void load_query(const Params& params, Query& query) const {
    const std::int32_t item_row = unit_item().row_begin;
#pragma unroll
    for (std::int32_t half = 0; half < 2; ++half) {
      const Row place = row(params, half);
      const Global<const Number> from = params.query + (item_row + place.token) * params.query_stride +
                                        std::int64_t{place.head} * Shape::head_dim(params.layout);
#pragma unroll
      for (std::int32_t i = 0; i < 2 * Shape::kDepthSteps; ++i) {
        const std::int32_t column = i * 8 + lane_index() % 4 * 2;
        std::uint32_t word = 0;
        if (place.token >= 0 && column < Shape::head_dim(params.layout)) {
          word = load_as<std::uint32_t>(from + column);
        }
        query.set(i / 2, i % 2 * 2 + half, word);
      }
    }
  }

  // Loads the rows' states from the item's partial slots.
  template <typename Fragment>
  COPPICE_DEVICE void load_state(const Params& params, RowSums& sums, Fragment& o) const {
    std::int64_t index[2];
    bool present[2];
#pragma unroll
    for (std::int32_t half = 0; half < 2; ++half) {
      const Row place = row(params, half);
      index[half] = partial_index(params, unit_item().partial_begin + place.token, place.head);
      present[half] = place.token >= 0;
      if (present[half]) {
        const Vector<float, 2> both = load_as<Vector<float, 2>>(params.partial_sums + index[half] * 2);
        sums.m[half] = both.at[0];
        sums.l[half] = both.at[1];
      }
    }
#pragma unroll
    for (std::int32_t n = 0; n < Fragment::kColumnTiles; ++n) {
      const std::int32_t column = fragment_column<Fragment>(n);
      Vector<float, 4> value = {};
#pragma unroll
      for (std::int32_t half = 0; half < 2; ++half) {
        if (present[half] && column < Shape::head_dim(params.layout)) {
          const Vector<float, 2> both =
              load_as<Vector<float, 2>>(params.partial_o + index[half] * Shape::head_dim(params.layout) + column);
          value.at[half * 2] = both.at[0];
          value.at[half * 2 + 1] = both.at[1];
        }
      }
      o.set(n, value);
    }
  }

  template <typename Fragment>
  COPPICE_DEVICE void store_state(const Params& params, std::int32_t slot_begin, const RowSums& sums,
                                  const Fragment& o) const {
#pragma unroll
    for (std::int32_t half = 0; half < 2; ++half) {
      const Row place = row(params, half);
      if (place.token < 0) {
        continue;
      }
      const std::int64_t index = partial_index(params, slot_begin + place.token, place.head);
      if (lane_index() % 4 == 0 && deal.share() == 0) {
        store_as(params.partial_sums + index * 2, Vector<float, 2>{{sums.m[half], sums.l[half]}});
      }
#pragma unroll
      for (std::int32_t n = 0; n < Fragment::kColumnTiles; ++n) {
        const std::int32_t column = fragment_column<Fragment>(n);
        const Vector<float, 4> value = o.get(n);
        if (column < Shape::head_dim(params.layout)) {
          store_as(params.partial_o + index * Shape::head_dim(params.layout) + column,
                   Vector<float, 2>{{value.at[half * 2], value.at[half * 2 + 1]}});
        }
      }
    }
  }

  template <typename Fragment>
  COPPICE_DEVICE void store_output(const Params& params, const RowSums& sums, const Fragment& o) const {
#pragma unroll
    for (std::int32_t half = 0; half < 2; ++half) {
      const Row place = row(params, half);
      const float inverse = 1.0F / sums.l[half];
#pragma unroll
      for (std::int32_t n = 0; n < Fragment::kColumnTiles; ++n) {
        const std::int32_t column = fragment_column<Fragment>(n);
        const Vector<float, 4> value = o.get(n);
        if (place.token >= 0 && column < Shape::head_dim(params.layout)) {
          write_output(params, unit_item().row_begin + place.token, place.head, column,
                       multiply(value.at[half * 2], inverse), multiply(value.at[half * 2 + 1], inverse));
        }
      }
    }
  }
};

}  // namespace coppice::kernels::cuda
