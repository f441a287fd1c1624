// Attention in float32: for float32 models, and for comparison with other devices. One warp computes a row (a token and
// a query head) from its first key to its last, so the rest of its block cannot change its bits.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/attention/f32_split.cuh"
#include "kernels/cuda/attention/loop.cuh"
#include "kernels/key_positions.h"

namespace coppice::kernels::cuda {

// dim: 128 or 256, for every head up to it.
template <std::int32_t dim>
struct AttentionF32Kernel : AttentionF32Split<dim> {
  using Number = float;
  using Split = AttentionF32Split<dim>;
  using Split::kColumns;
  using Split::kDepth;
  using Split::kKeyLanes;
  using Split::kWarps;
  using typename Split::Four;
  using typename Split::Params;
  using typename Split::Row;
  using typename Split::State;
  static constexpr std::int32_t kThreadsMax = kWarps * kWarpLanes;  // of a block
  // Limited by registers; compiled for, not measured.
  static constexpr std::int32_t kBlocksPerMultiprocessor = dim <= 128 ? 4 : 3;
  static constexpr std::int32_t kStagesMax = 1;  // nothing is copied ahead
  static constexpr std::int32_t kStagesMin = 1;
  static constexpr std::int32_t shared_bytes(std::int32_t) { return Split::kSharedBytesMax; }

  // Calls visit(piece, column) for each of this lane's columns.
  template <typename Visit>
  static COPPICE_DEVICE void for_each_column(const Params& params, const Visit& visit) {
#pragma unroll
    for (std::int32_t c = 0; c < kColumns; ++c) {
      const std::int32_t column = (c * kWarpLanes + lane_index()) * 4;
      if (column < params.layout.head_dim) {
        visit(c, column);
      }
    }
  }

  static COPPICE_DEVICE State load_state(const Params& params, const Row& row, std::int32_t slot) {
    State state;
    const std::int64_t index = partial_index(params, slot, row.head);
    const auto sums = load_as<Vector<float, 2>>(params.partial_sums + index * 2);
    state.m = sums.at[0];
    state.l = sums.at[1];
    for_each_column(params, [&](std::int32_t c, std::int32_t column) {
      state.o[c] = load_as<Four>(params.partial_o + index * params.layout.head_dim + column);
    });
    return state;
  }

  static COPPICE_DEVICE void store_state(const Params& params, const Row& row, std::int32_t slot, const State& state) {
    const std::int64_t index = partial_index(params, slot, row.head);
    if (lane_index() == 0) {
      store_as(params.partial_sums + index * 2, Vector<float, 2>{{state.m, state.l}});
    }
    for_each_column(params, [&](std::int32_t c, std::int32_t column) {
      store_as(params.partial_o + index * params.layout.head_dim + column, state.o[c]);
    });
  }

  static COPPICE_DEVICE void store_output(const Params& params, const Row& row, const State& state) {
    const std::int32_t token = unit_item().row_begin + row.token;
    const float inverse = 1.0F / state.l;
    for_each_column(params, [&](std::int32_t c, std::int32_t column) {
      write_output(params, token, row.head, column, multiply(state.o[c].at[0], inverse),
                   multiply(state.o[c].at[1], inverse));
      write_output(params, token, row.head, column + 2, multiply(state.o[c].at[2], inverse),
                   multiply(state.o[c].at[3], inverse));
    });
  }

  // place: of the item's matrix rows.
  static COPPICE_DEVICE Row find_row(const Params& params, const DevicePlanHeader& header, std::int32_t key_head,
                                     std::int32_t place) {
    Row row;
    row.token = place / params.group;
    row.head = key_head * params.group + place % params.group;
    row.key_head = key_head;
    const std::int32_t token = unit_item().row_begin + row.token;
    const std::int32_t position = params.plan[header.row_positions + token];
    const std::int32_t key_begin = unit_item().key_begin;
    const std::int32_t key_end = unit_item().key_end;
    const std::int32_t lowest = visible_begin(position, header.window);
    row.lowest = lowest > key_begin ? lowest : key_begin;
    row.end = visible_end(position) < key_end ? visible_end(position) : key_end;
    const Global<const float> query =
        params.query + token * params.query_stride + std::int64_t{row.head} * params.layout.head_dim;
#pragma unroll
    for (std::int32_t k = 0; k < kDepth; ++k) {
      const std::int32_t column = (k * kKeyLanes + lane_index() % kKeyLanes) * 4;
      row.query[k] = {};
      if (column < params.layout.head_dim) {
        const auto first = load_as<Vector<float, 2>>(query + column);
        const auto second = load_as<Vector<float, 2>>(query + column + 2);
        row.query[k] = {{first.at[0], first.at[1], second.at[0], second.at[1]}};
      }
    }
    return row;
  }

  static COPPICE_DEVICE void run_row(const Params& params, const Row& row) {
    const bool folds = unit_item().folds != 0;
    const std::int32_t first_partial = unit_item().partial_begin;
    State total;
    if (unit_item().after >= 0) {
      total = load_state(params, row, first_partial + row.token);
    }
    if (folds) {  // splits that the row does not see change nothing
      const std::int32_t end = row.end > row.lowest ? kv_split_index(row.end - 1) + 1 : 0;
      for (std::int32_t split = kv_split_index(row.lowest); split < end; ++split) {
        Split::merge_state(total, Split::run_split(params, row, split));
      }
    } else {  // each leaves a partial
      const std::int32_t begin = kv_split_index(unit_item().key_begin);
      const std::int32_t end = kv_split_index(unit_item().key_end - 1) + 1;
      for (std::int32_t split = begin; split < end; ++split) {
        const State state = Split::run_split(params, row, split);
        store_state(params, row, first_partial + (split - begin) * unit_item().row_count + row.token, state);
      }
    }
    if (folds && unit_item().writes_output != 0) {
      store_output(params, row, total);
    } else if (folds) {
      store_state(params, row, first_partial + row.token, total);
    }
  }

  // --- a unit ---

  static COPPICE_DEVICE void run_unit(const Params& params, const DevicePlanHeader& header, std::int32_t work) {
    constexpr std::int32_t kBlockRows = attention_block_rows(dim);  // matrix rows of a block
    const std::int32_t key_head = work % params.layout.key_heads;
    const DeviceUnit unit = load_unit(params, header, work);
    if (unit_item().after >= 0) {
      wait_for(params.progress + kProgressItems + std::int64_t{unit_item().after} * params.layout.key_heads + key_head,
               static_cast<std::uint32_t>(unit_item().after_blocks));
    }
    const std::int32_t begin = unit.block * kBlockRows;
    const std::int32_t all = unit_item().row_count * params.group;
    const std::int32_t end = begin + kBlockRows < all ? begin + kBlockRows : all;
    for (std::int32_t place = begin + warp_index(); place < end; place += kWarps) {
      run_row(params, find_row(params, header, key_head, place));
    }
  }

  static COPPICE_DEVICE void run(const Params& params) {
    AttentionLoop<AttentionF32Kernel>::run(params);
  }
};

}  // namespace coppice::kernels::cuda
