// The merge of partials: rows whose splits were computed by several units.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/attention_params.cuh"
#include "kernels/cuda/attention_tile.cuh"

namespace coppice::kernels::cuda {

inline constexpr std::int32_t kMergesPerWarp = 4;  // (row, key head) pairs of a piece of work

// One row's query heads of one key head, by one warp: partials in ascending order of their keys.
template <typename Element>
COPPICE_DEVICE void merge_row(const AttentionParams<Element>& params, const DevicePlanHeader& header, std::int32_t row,
                              std::int32_t key_head) {
  const Global<const std::int32_t> bounds = params.plan + header.row_partial_begin + row;
  const std::int32_t begin = bounds[0];
  const std::int32_t end = bounds[1];
  const std::int32_t columns = params.layout.head_dim / 2;
  for (std::int32_t i = lane_index(); i < params.group * columns; i += kWarpLanes) {
    const std::int32_t head = key_head * params.group + i / columns;
    const std::int32_t column = i % columns * 2;
    float m = kNoScore;
    float l = 0.0F;
    Vector<float, 2> o = {};
    for (std::int32_t j = begin; j < end; ++j) {
      const std::int32_t slot = params.plan[header.row_partials + j];
      const std::int64_t index = partial_index(params, slot, head);
      const Vector<float, 2> sums = load_as<Vector<float, 2>>(params.partial_sums + index * 2);
      const Vector<float, 2> added =
          load_as<Vector<float, 2>>(params.partial_o + index * params.layout.head_dim + column);
      const SoftmaxMerge merge = merge_factors(m, sums.at[0]);
      o = {{merge_number(o.at[0], added.at[0], merge), merge_number(o.at[1], added.at[1], merge)}};
      l = merge_number(l, sums.at[1], merge);
      m = merge.m;
    }
    const float inverse = 1.0F / l;
    write_output(params, row, head, column, multiply(o.at[0], inverse), multiply(o.at[1], inverse));
  }
}

// How many pieces of work the merges are.
template <typename Shape>
COPPICE_DEVICE std::int32_t merge_bundles(const AttentionParams<typename Shape::Number>& params,
                                          const DevicePlanHeader& header) {
  constexpr std::int32_t kBundle = kMergesPerWarp * Shape::kWarps;
  return (header.merge_row_count * params.layout.key_heads + kBundle - 1) / kBundle;
}

template <typename Shape>
COPPICE_DEVICE void run_merges(const AttentionParams<typename Shape::Number>& params, const DevicePlanHeader& header,
                               std::int32_t bundle) {
  const std::int32_t count = header.merge_row_count * params.layout.key_heads;
  for (std::int32_t i = 0; i < kMergesPerWarp; ++i) {
    const std::int32_t index = (bundle * kMergesPerWarp + i) * Shape::kWarps + warp_index();
    if (index < count) {
      const std::int32_t row = params.plan[header.merge_rows + index / params.layout.key_heads];
      merge_row(params, header, row, index % params.layout.key_heads);
    }
  }
}

}  // namespace coppice::kernels::cuda
