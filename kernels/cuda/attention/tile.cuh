// The arithmetic of attention: sixteen rows of one warp against sixteen keys at a time.
//
// A row's result for a split is a function of the row and the split alone: keys in steps of sixteen from the split's
// beginning, products summed by the tensor core in a fixed order, and an exponent's reference that depends on the row's
// own scores (raised only when they exceed it by kSlack, so that sums are seldom rescaled; the idea is
// FlashAttention-4's). Other rows of the tile and other readers of the keys change nothing: a masked key has weight
// exactly 0, and a row whose reference stays is multiplied by exactly 1.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/attention/fragment.cuh"
#include "kernels/online_softmax.h"

namespace coppice::kernels::cuda {

inline constexpr float kSlack = 8.0F;                 // weights are at most 2^8: far inside the range of f16
inline constexpr float kNoScore = -__builtin_inff();  // of a masked key: its weight is exactly 0

// Which keys a lane's two rows see: rows lane / 4 and lane / 4 + 8 of the warp's sixteen.
struct RowLimits {
  std::int32_t end[2];     // keys below it are visible
  std::int32_t lowest[2];  // and from it on (sliding window)
  std::int32_t all_end;    // of all sixteen rows: keys in [all_lowest, all_end) need no mask
  std::int32_t all_lowest;
};

// (m, l) of a lane's two rows; l is this lane's share until reduce_sums(). Exponents are of two.
struct RowSums {
  float m[2] = {kNoScore, kNoScore};
  float l[2] = {0.0F, 0.0F};
};

// Scores of a step, in units of scale * log2(e) still to be multiplied: s[n] is keys 8 n … 8 n + 7.
template <typename Shape, typename Query>
COPPICE_DEVICE void score_step(const Query& query, Shared<const typename Shape::Number> keys, float (&s)[2][4]) {
  const std::int32_t lane = lane_index();
  const auto row = keys + (lane % 8 + lane / 16 * 8) * Shape::kRowStride + lane / 8 % 2 * 8;
#pragma unroll
  for (std::int32_t k = 0; k < Shape::kDepthSteps; ++k) {
    std::uint32_t a[4];
    std::uint32_t b[4];
    query.get(k, a);
    load_matrix_x4(b, row + k * 16);
    multiply_accumulate<typename Shape::Number>(s[0], a, b[0], b[1]);
    multiply_accumulate<typename Shape::Number>(s[1], a, b[2], b[3]);
  }
}

COPPICE_DEVICE void mask_step(std::int32_t first_key, const RowLimits& limits, float (&s)[2][4]) {
  if (first_key >= limits.all_lowest && first_key + kStepKeys <= limits.all_end) {
    return;
  }
#pragma unroll
  for (std::int32_t i = 0; i < 8; ++i) {
    const std::int32_t key = first_key + i / 4 * 8 + lane_index() % 4 * 2 + i % 2;
    const std::int32_t half = i % 4 / 2;
    if (key >= limits.end[half] || key < limits.lowest[half]) {
      s[i / 4][i % 4] = kNoScore;
    }
  }
}

// Scores become weights; sums and results are brought to the rows' new references.
template <typename Shape>
COPPICE_DEVICE void softmax_step(float scale, float (&s)[2][4], RowSums& sums, RegisterFragment<Shape>& o) {
  float kept[2];
  bool moves = false;
#pragma unroll
  for (std::int32_t half = 0; half < 2; ++half) {
    const std::int32_t i = half * 2;
    float most = fmaxf(fmaxf(s[0][i], s[0][i + 1]), fmaxf(s[1][i], s[1][i + 1]));
    most = fmaxf(most, shuffle_xor(most, 1));
    most = multiply(fmaxf(most, shuffle_xor(most, 2)), scale);
    kept[half] = 1.0F;
    if (most > sums.m[half] + kSlack) {
      kept[half] = exp2_approximate(sums.m[half] - most);
      sums.m[half] = most;
      moves = true;
    }
  }
  if (warp_any(moves)) {
#pragma unroll
    for (std::int32_t n = 0; n < Shape::kColumnTiles; ++n) {
#pragma unroll
      for (std::int32_t i = 0; i < 4; ++i) {
        o.at[n][i] = multiply(o.at[n][i], kept[i / 2]);
      }
    }
    sums.l[0] = multiply(sums.l[0], kept[0]);
    sums.l[1] = multiply(sums.l[1], kept[1]);
  }
#pragma unroll
  for (std::int32_t half = 0; half < 2; ++half) {
    const float reference = sums.m[half] == kNoScore ? 0.0F : sums.m[half];
#pragma unroll
    for (std::int32_t n = 0; n < 2; ++n) {
#pragma unroll
      for (std::int32_t i = half * 2; i < half * 2 + 2; ++i) {
        s[n][i] = exp2_approximate(fmaf(s[n][i], scale, -reference));
      }
    }
    sums.l[half] += (s[0][half * 2] + s[0][half * 2 + 1]) + (s[1][half * 2] + s[1][half * 2 + 1]);
  }
}

// o += weights * values. values: of the first of o's columns.
template <typename Shape>
COPPICE_DEVICE void mix_step(const float (&s)[2][4], Shared<const typename Shape::Number> values,
                             RegisterFragment<Shape>& o) {
  using Number = typename Shape::Number;
  const std::uint32_t weights[4] = {pack_halves<Number>(s[0][0], s[0][1]), pack_halves<Number>(s[0][2], s[0][3]),
                                    pack_halves<Number>(s[1][0], s[1][1]), pack_halves<Number>(s[1][2], s[1][3])};
  const std::int32_t lane = lane_index();
  const auto row = values + lane % 16 * Shape::kRowStride + lane / 16 * 8;
#pragma unroll
  for (std::int32_t k = 0; k < Shape::kColumnTiles / 2; ++k) {
    std::uint32_t b[4];
    load_matrix_x4_transposed(b, row + k * 16);
    multiply_accumulate<Number>(o.at[2 * k], weights, b[0], b[1]);
    multiply_accumulate<Number>(o.at[2 * k + 1], weights, b[2], b[3]);
  }
}

// Scores of a step handed from warp to warp: every lane's numbers are its own.
COPPICE_DEVICE void store_scores(Shared<float> to, const float (&s)[2][4]) {
#pragma unroll
  for (std::int32_t n = 0; n < 2; ++n) {
    store_as(to + (n * kWarpLanes + lane_index()) * 4, Vector<float, 4>{{s[n][0], s[n][1], s[n][2], s[n][3]}});
  }
}
COPPICE_DEVICE void load_scores(Shared<const float> from, float (&s)[2][4]) {
#pragma unroll
  for (std::int32_t n = 0; n < 2; ++n) {
    const auto numbers = load_as<Vector<float, 4>>(from + (n * kWarpLanes + lane_index()) * 4);
#pragma unroll
    for (std::int32_t i = 0; i < 4; ++i) {
      s[n][i] = numbers.at[i];
    }
  }
}

// Every lane of a row gets the row's whole l.
COPPICE_DEVICE void reduce_sums(RowSums& sums) {
#pragma unroll
  for (std::int32_t half = 0; half < 2; ++half) {
    sums.l[half] += shuffle_xor(sums.l[half], 1);
    sums.l[half] += shuffle_xor(sums.l[half], 2);
  }
}

// softmax_merge() where either side may be empty; an empty side's l and o are zeros.
COPPICE_DEVICE SoftmaxMerge merge_factors(float m_before, float m_added) {
  if (m_added == kNoScore) {
    return {m_before, 1.0F, 0.0F};
  }
  if (m_before == kNoScore) {
    return {m_added, 0.0F, 1.0F};
  }
  return softmax_merge(m_before, m_added, [](float x) { return exp2_approximate(x); });
}
COPPICE_DEVICE float merge_number(float before, float added, const SoftmaxMerge& merge) {
  return fmaf(before, merge.kept, multiply(added, merge.added));
}

// total = merge(total, split), for one warp's rows.
template <typename Shape, typename Total, typename Split>
COPPICE_DEVICE void merge_rows(RowSums& total_sums, Total& total, const RowSums& split_sums, const Split& split) {
  const SoftmaxMerge first = merge_factors(total_sums.m[0], split_sums.m[0]);
  const SoftmaxMerge second = merge_factors(total_sums.m[1], split_sums.m[1]);
#pragma unroll
  for (std::int32_t n = 0; n < Shape::kColumnTiles; ++n) {
    const Vector<float, 4> before = total.get(n);
    const Vector<float, 4> added = split.get(n);
    total.set(n, {{merge_number(before.at[0], added.at[0], first), merge_number(before.at[1], added.at[1], first),
                   merge_number(before.at[2], added.at[2], second), merge_number(before.at[3], added.at[3], second)}});
  }
  total_sums.l[0] = merge_number(total_sums.l[0], split_sums.l[0], first);
  total_sums.l[1] = merge_number(total_sums.l[1], split_sums.l[1], second);
  total_sums.m[0] = first.m;
  total_sums.m[1] = second.m;
}

}  // namespace coppice::kernels::cuda
