// One unit of attention: a block of an item's rows, one key head, all keys of the item that the rows see.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/attention_device_plan.h"
#include "kernels/cuda/attention_stream.cuh"
#include "kernels/cuda/attention_tile.cuh"

namespace coppice::kernels::cuda {

template <typename Element>
struct AttentionParams {
  Global<const std::int32_t> plan;  // attention_device_plan.h
  Global<float> partial_sums;       // [slot][query head] (m, l)
  Global<float> partial_o;          // [slot][query head][head_dim]
  Global<std::uint32_t> progress;
  Global<const Element> query;
  Global<Element> out;          // or null
  Global<float> out_f32;        // or null
  Global<const Element> cache;  // of the layer
  std::int64_t query_stride;
  std::int64_t out_stride;
  KvLayout layout;
  std::int32_t query_heads;
  std::int32_t group;   // query heads of a key head
  std::int32_t stages;  // of the pipeline: 2, 3 or 4
  float scale;          // times log2(e)
};

// Two neighbouring numbers of the output of one row and head.
template <typename Element>
COPPICE_DEVICE void write_output(const AttentionParams<Element>& params, std::int32_t row, std::int32_t head,
                                 std::int32_t column, float first, float second) {
  const std::int64_t place = row * params.out_stride + std::int64_t{head} * params.layout.head_dim + column;
  // + 0: a zero has one sign, whatever keys of weight 0 stood beside.
  if (params.out_f32) {
    store_as(params.out_f32 + place, Vector<float, 2>{{first + 0.0F, second + 0.0F}});
  } else {
    store_as(params.out + place, pack_halves<Element>(first + 0.0F, second + 0.0F));
  }
}

template <typename Element>
COPPICE_DEVICE std::int64_t partial_index(const AttentionParams<Element>& params, std::int32_t slot,
                                          std::int32_t head) {
  return std::int64_t{slot} * params.query_heads + head;
}

template <typename Shape>
struct AttentionUnit {
  using Number = typename Shape::Number;
  using Params = AttentionParams<Number>;

  DeviceItem item;
  std::int32_t key_head;
  std::int32_t row_begin;  // first matrix row of the block, in the item
  std::int32_t rows;       // of the block
  WarpDeal deal;
  KeyRange range;
  RowLimits limits;
  std::int32_t token[2];  // this lane's rows: token row in the item, -1: padding
  std::int32_t head[2];   // and query head

  COPPICE_DEVICE void set(const Params& params, const DevicePlanHeader& header, std::int32_t unit_index,
                          std::int32_t key_head_of_unit) {
    const DeviceUnit unit = pointer_as<const DeviceUnit>(params.plan + header.units)[unit_index];
    item = pointer_as<const DeviceItem>(params.plan + header.items)[unit.item];
    key_head = key_head_of_unit;
    constexpr std::int32_t kBlockRows = Shape::kWarps * kTileRows;
    row_begin = unit.block * kBlockRows;
    const std::int32_t left = item.row_count * params.group - row_begin;
    rows = left < kBlockRows ? left : kBlockRows;
    deal = deal_warps<Shape>(rows);
    find_range(params, header);
    find_rows(params, header);
  }

  // The keys that the block's rows see at all.
  COPPICE_DEVICE void find_range(const Params& params, const DevicePlanHeader& header) {
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
    std::int32_t begin = header.window > 0 ? first - header.window + 1 : 0;
    begin = begin > item.key_begin ? begin / kStepKeys * kStepKeys : item.key_begin;
    range.begin = begin;
    range.end = last + 1 < item.key_end ? last + 1 : item.key_end;
    if (item.folds != 0) {  // splits that nobody sees change nothing
      range.split_begin = kv_split_index(begin);
      range.split_end = range.end > begin ? kv_split_index(range.end - 1) + 1 : range.split_begin;
    } else {  // each leaves a partial
      range.split_begin = kv_split_index(item.key_begin);
      range.split_end = kv_split_index(item.key_end - 1) + 1;
    }
  }

  COPPICE_DEVICE void find_rows(const Params& params, const DevicePlanHeader& header) {
    const Global<const std::int32_t> positions = params.plan + header.row_positions + item.row_begin;
    limits.all_end = 0x7FFFFFFF;
    limits.all_lowest = 0;
#pragma unroll
    for (std::int32_t half = 0; half < 2; ++half) {
      const std::int32_t row = deal.tile * kTileRows + half * 8 + lane_index() / 4;
      token[half] = row < rows ? (row_begin + row) / params.group : -1;
      head[half] = key_head * params.group + (row_begin + row) % params.group;
      limits.end[half] = 0;
      limits.lowest[half] = 0;
      if (token[half] >= 0) {
        const std::int32_t position = positions[token[half]];
        limits.end[half] = position + 1 < item.key_end ? position + 1 : item.key_end;
        limits.lowest[half] = header.window > 0 ? position - header.window + 1 : 0;
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

  // Does this warp have rows at all?
  COPPICE_DEVICE bool computes() const {
    return deal.tile * kTileRows < rows;
  }
  // Is it the one that holds its rows' results?
  COPPICE_DEVICE bool holds_total() const {
    return deal.split == 0 && computes();
  }

  COPPICE_DEVICE void load_query(const Params& params, std::uint32_t (&query)[Shape::kDepthSteps][4]) const {
#pragma unroll
    for (std::int32_t k = 0; k < Shape::kDepthSteps; ++k) {
#pragma unroll
      for (std::int32_t i = 0; i < 4; ++i) {
        const std::int32_t half = i % 2;
        const std::int32_t column = k * 16 + i / 2 * 8 + lane_index() % 4 * 2;
        query[k][i] = 0;
        if (token[half] >= 0 && column < params.layout.head_dim) {
          query[k][i] = load_as<std::uint32_t>(params.query + (item.row_begin + token[half]) * params.query_stride +
                                               std::int64_t{head[half]} * params.layout.head_dim + column);
        }
      }
    }
  }

  // The state of the rows in partial slots [slot_begin + token row].
  template <typename Fragment>
  COPPICE_DEVICE void load_state(const Params& params, RowSums& sums, Fragment& o) const {
    std::int64_t index[2];
#pragma unroll
    for (std::int32_t half = 0; half < 2; ++half) {
      index[half] = partial_index(params, item.partial_begin + token[half], head[half]);
      if (token[half] >= 0) {
        const Vector<float, 2> both = load_as<Vector<float, 2>>(params.partial_sums + index[half] * 2);
        sums.m[half] = both.at[0];
        sums.l[half] = both.at[1];
      }
    }
#pragma unroll
    for (std::int32_t n = 0; n < Shape::kColumnTiles; ++n) {
      const std::int32_t column = n * 8 + lane_index() % 4 * 2;
      Vector<float, 4> value = {};
#pragma unroll
      for (std::int32_t half = 0; half < 2; ++half) {
        if (token[half] >= 0 && column < params.layout.head_dim) {
          const Vector<float, 2> both =
              load_as<Vector<float, 2>>(params.partial_o + index[half] * params.layout.head_dim + column);
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
      if (token[half] < 0) {
        continue;
      }
      const std::int64_t index = partial_index(params, slot_begin + token[half], head[half]);
      if (lane_index() % 4 == 0) {
        store_as(params.partial_sums + index * 2, Vector<float, 2>{{sums.m[half], sums.l[half]}});
      }
#pragma unroll
      for (std::int32_t n = 0; n < Shape::kColumnTiles; ++n) {
        const std::int32_t column = n * 8 + lane_index() % 4 * 2;
        const Vector<float, 4> value = o.get(n);
        if (column < params.layout.head_dim) {
          store_as(params.partial_o + index * params.layout.head_dim + column,
                   Vector<float, 2>{{value.at[half * 2], value.at[half * 2 + 1]}});
        }
      }
    }
  }

  template <typename Fragment>
  COPPICE_DEVICE void store_output(const Params& params, const RowSums& sums, const Fragment& o) const {
#pragma unroll
    for (std::int32_t half = 0; half < 2; ++half) {
      const float inverse = 1.0F / sums.l[half];
#pragma unroll
      for (std::int32_t n = 0; n < Shape::kColumnTiles; ++n) {
        const std::int32_t column = n * 8 + lane_index() % 4 * 2;
        const Vector<float, 4> value = o.get(n);
        if (token[half] >= 0 && column < params.layout.head_dim) {
          write_output(params, item.row_begin + token[half], head[half], column, multiply(value.at[half * 2], inverse),
                       multiply(value.at[half * 2 + 1], inverse));
        }
      }
    }
  }
};

}  // namespace coppice::kernels::cuda
