// The merge of partials: rows whose splits were computed by several units.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/attention/params.cuh"
#include "kernels/cuda/attention/tile.cuh"

namespace coppice::kernels::cuda {

// (row, query head) pairs of a piece of work; chosen, not measured.
inline constexpr std::int32_t kMergesPerWarpMax = 16;
inline constexpr std::int32_t kMergeAhead = 8;  // partials that are read together; chosen, not measured

// How the pairs are bundled: if there are few, each warp takes few, so that all blocks help. The bits are the same.
struct MergeBundles {
  std::int32_t pairs;
  std::int32_t per_warp;
  std::int32_t count;  // pieces of work
};

template <typename Kernel>
COPPICE_DEVICE MergeBundles merge_bundles(const AttentionParams<typename Kernel::Number>& params,
                                          const DevicePlanHeader& header) {
  // Bundles per warp on average, so that late warps take fewer; chosen, not measured.
  constexpr std::int32_t kClaimsPerBlock = 4;
  MergeBundles bundles;
  bundles.pairs = header.merge_row_count * params.query_heads;
  const std::int32_t per_warp = bundles.pairs / (block_count() * Kernel::kWarps * kClaimsPerBlock) + 1;
  bundles.per_warp = per_warp < kMergesPerWarpMax ? per_warp : kMergesPerWarpMax;
  const std::int32_t bundle = bundles.per_warp * Kernel::kWarps;
  bundles.count = (bundles.pairs + bundle - 1) / bundle;
  return bundles;
}

// Merges one row and query head, by one warp with four columns per lane: partials in ascending order of their keys. An
// empty partial changes nothing, so the last batch is filled up with empty ones.
template <typename Element>
COPPICE_DEVICE void merge_row(const AttentionParams<Element>& params, const DevicePlanHeader& header, std::int32_t row,
                              std::int32_t head) {
  const Global<const std::int32_t> bounds = params.plan + header.row_partial_begin + row;
  const std::int32_t begin = bounds[0];
  const std::int32_t end = bounds[1];
  for (std::int32_t column = lane_index() * 4; column < params.layout.head_dim; column += kWarpLanes * 4) {
    float m = kNoScore;
    float l = 0.0F;
    Vector<float, 4> o = {};
    for (std::int32_t first = begin; first < end; first += kMergeAhead) {
      Vector<float, 2> sums[kMergeAhead];
      Vector<float, 4> added[kMergeAhead];
#pragma unroll
      for (std::int32_t i = 0; i < kMergeAhead; ++i) {
        sums[i] = {{kNoScore, 0.0F}};
        added[i] = {};
        if (first + i < end) {
          const std::int32_t slot = params.plan[header.row_partials + first + i];
          const std::int64_t index = partial_index(params, slot, head);
          sums[i] = load_as<Vector<float, 2>>(params.partial_sums + index * 2);
          added[i] = load_as<Vector<float, 4>>(params.partial_o + index * params.layout.head_dim + column);
        }
      }
#pragma unroll
      for (std::int32_t i = 0; i < kMergeAhead; ++i) {
        const SoftmaxMerge merge = merge_factors(m, sums[i].at[0]);
#pragma unroll
        for (std::int32_t j = 0; j < 4; ++j) {
          o.at[j] = merge_number(o.at[j], added[i].at[j], merge);
        }
        l = merge_number(l, sums[i].at[1], merge);
        m = merge.m;
      }
    }
    const float inverse = 1.0F / l;
    write_output(params, row, head, column, multiply(o.at[0], inverse), multiply(o.at[1], inverse));
    write_output(params, row, head, column + 2, multiply(o.at[2], inverse), multiply(o.at[3], inverse));
  }
}

template <typename Kernel>
COPPICE_DEVICE void run_merges(const AttentionParams<typename Kernel::Number>& params, const DevicePlanHeader& header,
                               const MergeBundles& bundles, std::int32_t bundle) {
  for (std::int32_t i = 0; i < bundles.per_warp; ++i) {
    const std::int32_t pair = (bundle * bundles.per_warp + i) * Kernel::kWarps + warp_index();
    if (pair < bundles.pairs) {
      const std::int32_t row = params.plan[header.merge_rows + pair / params.query_heads];
      merge_row(params, header, row, pair % params.query_heads);
    }
  }
}

}  // namespace coppice::kernels::cuda
