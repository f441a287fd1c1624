// The merge of partials: rows whose splits were computed by several units.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/attention/params.cuh"
#include "kernels/cuda/attention/tile.cuh"

namespace coppice::kernels::cuda {

// Parts of rows that a warp merges for a piece of work; chosen, not measured.
inline constexpr std::int32_t kMergesPerWarpMax = 16;
inline constexpr std::int32_t kMergeColumns = 2 * kWarpLanes;  // of a part: two neighbours a lane
inline constexpr std::int32_t kMergeAhead = kWarpLanes;        // partials that are read together: one a lane
inline constexpr std::int32_t kMergeGroup = 8;  // of them, that nothing is done for where a row has no more; chosen

// How parts of rows are bundled: if there are few, each warp takes few, so that all blocks help. The bits are the same.
struct MergeBundles {
  std::int32_t row_parts;  // of a row: query heads times parts of a head
  std::int32_t parts;      // of all rows
  std::int32_t per_warp;
  std::int32_t count;  // pieces of work
};

template <typename Kernel>
COPPICE_DEVICE MergeBundles merge_bundles(const AttentionParams<typename Kernel::Number>& params,
                                          const DevicePlanHeader& header) {
  // Bundles per warp on average, so that late warps take fewer; chosen, not measured.
  constexpr std::int32_t kClaimsPerBlock = 4;
  MergeBundles bundles;
  bundles.row_parts = params.query_heads * ((params.layout.head_dim + kMergeColumns - 1) / kMergeColumns);
  bundles.parts = header.merge_row_count * bundles.row_parts;
  const std::int32_t per_warp = bundles.parts / (block_count() * Kernel::kWarps * kClaimsPerBlock) + 1;
  bundles.per_warp = per_warp < kMergesPerWarpMax ? per_warp : kMergesPerWarpMax;
  const std::int32_t bundle = bundles.per_warp * Kernel::kWarps;
  bundles.count = (bundles.parts + bundle - 1) / bundle;
  return bundles;
}

// Returns the slot of a row's partial, one a lane; -1 where there is none.
template <typename Element>
COPPICE_DEVICE std::int32_t merge_slot(const AttentionParams<Element>& params, const DevicePlanHeader& header,
                                       std::int32_t partial, std::int32_t end) {
  return partial < end ? static_cast<std::int32_t>(params.plan[header.row_partials + partial]) : -1;
}

// Merges kMergeColumns columns of one row and query head, by one warp: partials in ascending order of their keys. The
// slots of 32 are read together, one a lane, those of the next 32 meanwhile; then all their sums and numbers. An empty
// partial changes nothing, so the last group is filled up with empty ones.
template <typename Element>
COPPICE_DEVICE void merge_part(const AttentionParams<Element>& params, const DevicePlanHeader& header, std::int32_t row,
                               std::int32_t head, std::int32_t part) {
  const Global<const std::int32_t> bounds = params.plan + header.row_partial_begin + row;
  const std::int32_t begin = bounds[0];
  const std::int32_t end = bounds[1];
  const std::int32_t column = part * kMergeColumns + lane_index() * 2;
  const bool has_columns = column < params.layout.head_dim;
  float m = kNoScore;
  float l = 0.0F;
  Vector<float, 2> o = {};
  std::int32_t next_slot = merge_slot(params, header, begin + lane_index(), end);
  for (std::int32_t first = begin; first < end; first += kMergeAhead) {
    const std::int32_t slot = next_slot;
    next_slot = merge_slot(params, header, first + kMergeAhead + lane_index(), end);
    Vector<float, 2> sums = {{kNoScore, 0.0F}};
    if (slot >= 0) {
      sums = load_as<Vector<float, 2>>(params.partial_sums + partial_index(params, slot, head) * 2);
    }
    Vector<float, 2> added[kMergeAhead];
#pragma unroll
    for (std::int32_t i = 0; i < kMergeAhead; ++i) {
      if (i % kMergeGroup == 0 && first + i >= end) {
        break;
      }
      const std::int32_t from = shuffle(slot, i);
      added[i] = {};
      if (from >= 0 && has_columns) {
        added[i] = load_as<Vector<float, 2>>(params.partial_o +
                                             partial_index(params, from, head) * params.layout.head_dim + column);
      }
    }
#pragma unroll
    for (std::int32_t i = 0; i < kMergeAhead; ++i) {
      if (i % kMergeGroup == 0 && first + i >= end) {
        break;
      }
      const SoftmaxMerge merge = merge_factors(m, shuffle(sums.at[0], i));
      o.at[0] = merge_number(o.at[0], added[i].at[0], merge);
      o.at[1] = merge_number(o.at[1], added[i].at[1], merge);
      l = merge_number(l, shuffle(sums.at[1], i), merge);
      m = merge.m;
    }
  }
  if (has_columns) {
    const float inverse = 1.0F / l;
    write_output(params, row, head, column, multiply(o.at[0], inverse), multiply(o.at[1], inverse));
  }
}

template <typename Kernel>
COPPICE_DEVICE void run_merges(const AttentionParams<typename Kernel::Number>& params, const DevicePlanHeader& header,
                               const MergeBundles& bundles, std::int32_t bundle) {
  for (std::int32_t i = 0; i < bundles.per_warp; ++i) {
    const std::int32_t part = (bundle * bundles.per_warp + i) * Kernel::kWarps + warp_index();
    if (part < bundles.parts) {
      const std::int32_t row = params.plan[header.merge_rows + part / bundles.row_parts];
      const std::int32_t row_part = part % bundles.row_parts;
      merge_part(params, header, row, row_part % params.query_heads, row_part / params.query_heads);
    }
  }
}

}  // namespace coppice::kernels::cuda
