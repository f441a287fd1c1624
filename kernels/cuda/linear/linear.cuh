// Matrix products on tensor cores. linear.h says in which order every element is summed; all kernels here keep to it.
#pragma once

#include "kernels/cuda/linear/tile.cuh"

namespace coppice::kernels::cuda {

// One block makes a tile of kRows x kColumns with kWarpsM x kWarpsN warps. kWhole: all slices of it, folded in
// registers; else one slice, and the last block of a tile to arrive adds the slices up in ascending order.
template <typename Weight, int kRows, int kColumns, int kWarpsM, int kWarpsN, int kStages, bool kWhole>
struct LinearKernel : LinearTileWork<Weight, kRows, kColumns, kWarpsM, kWarpsN, kStages> {
  using Work = LinearTileWork<Weight, kRows, kColumns, kWarpsM, kWarpsN, kStages>;
  using typename Work::Params;
  using typename Work::Sums;
  // Limited by shared memory; compiled for, not measured.
  static constexpr std::int32_t kBlocksPerMultiprocessor = kWhole ? 1 : 2;
  static constexpr bool kBeginsEarly = true;   // with the weight
  static constexpr std::int32_t kGroupM = 16;  // row tiles that share a range of columns

  // Blocks that read the same piece of the weight are neighbours, so that the cache serves all but one.
  static COPPICE_DEVICE LinearPlace place_of(const Params& params) {
    const std::int32_t index = block_index();
    if constexpr (kWhole) {
      const std::int32_t group_blocks = kGroupM * params.column_tiles;
      const std::int32_t first = index / group_blocks * kGroupM;
      const std::int32_t left = params.row_tiles - first;
      const std::int32_t rows = left < kGroupM ? left : kGroupM;
      const std::int32_t within = index % group_blocks;
      return {first + within % rows, within / rows, 0};
    } else {
      const std::int32_t column = index / params.row_tiles;
      return {index % params.row_tiles, column / params.slices, column % params.slices};
    }
  }

  static COPPICE_DEVICE void store(const Params& params, const LinearPlace& place, const Sums& sums) {
    const std::int32_t row_begin =
        place.row_tile * kRows + warp_index() % kWarpsM * Work::kTilesM * 16 + lane_index() / 4;
    const std::int32_t column_begin =
        place.column_tile * kColumns + warp_index() / kWarpsM * Work::kTilesN * 8 + lane_index() % 4 * 2;
    Work::for_each_sum([&](std::int32_t m, std::int32_t n) {
      for (std::int32_t i = 0; i < 4; ++i) {
        params.output.store(row_begin + 16 * m + i / 2 * 8, column_begin + 8 * n + i % 2, sums.at[m][n][i]);
      }
    });
  }

  // A thread's four numbers of one fragment in the workspace of one slice.
  static COPPICE_DEVICE std::int64_t workspace_place(const Params& params, const LinearPlace& place, std::int32_t slice,
                                                     std::int32_t m, std::int32_t n) {
    const std::int64_t tile = std::int64_t{place.column_tile} * params.row_tiles + place.row_tile;
    const std::int64_t tiles = std::int64_t{params.column_tiles} * params.row_tiles;
    return ((slice * tiles + tile) * (Work::kTilesM * Work::kTilesN) + m * Work::kTilesN + n) *
               (4 * Work::kThreadsMax) +
           4 * thread_index();
  }

  // Writes this slice's sums to the workspace. Returns true for the last block of the tile, which must add the slices
  // up.
  static COPPICE_DEVICE bool leave_slice(const Params& params, const LinearPlace& place, const Sums& sums) {
    Work::for_each_sum([&](std::int32_t m, std::int32_t n) {
      const Vector<float, 4> four = {{sums.at[m][n][0], sums.at[m][n][1], sums.at[m][n][2], sums.at[m][n][3]}};
      store_as(params.workspace + workspace_place(params, place, place.slice, m, n), four);
    });
    sync_block();
    const Shared<std::uint32_t> flag = shared_array<std::uint32_t>(Work::kFlagOffset);
    if (thread_index() == 0) {
      const Global<std::uint32_t> counter =
          params.counters + (std::int64_t{place.column_tile} * params.row_tiles + place.row_tile);
      const auto last = static_cast<std::uint32_t>(params.slices - 1);
      const bool is_last = atomic_add_acquire_release(counter, 1) == last;
      if (is_last) {
        counter[0] = 0;
      }
      flag[0] = is_last ? 1U : 0U;
    }
    sync_block();
    return flag[0] != 0;
  }

  static COPPICE_DEVICE void add_slices(const Params& params, const LinearPlace& place, Sums& sums) {
    for (std::int32_t slice = 0; slice < params.slices; ++slice) {
      Work::for_each_sum([&](std::int32_t m, std::int32_t n) {
        const auto four = load_as<Vector<float, 4>>(params.workspace + workspace_place(params, place, slice, m, n));
        for (std::int32_t i = 0; i < 4; ++i) {
          sums.at[m][n][i] = slice == 0 ? four.at[i] : sums.at[m][n][i] + four.at[i];
        }
      });
    }
  }

  static COPPICE_DEVICE void run(const Params& params) {
    const LinearPlace place = place_of(params);
    const std::int32_t k_blocks = params.padded_k / kLinearBlockK;
    const std::int32_t begin = kWhole ? 0 : linear_slice_begin(place.slice, params.slices, k_blocks);
    const std::int32_t end = kWhole ? k_blocks : linear_slice_begin(place.slice + 1, params.slices, k_blocks);
    constexpr std::int32_t kAhead = kStages - 1;  // stages that are loaded ahead
    for (std::int32_t i = 0; i < kAhead && begin + i < end; ++i) {
      Work::load_weight(params, place, begin + i, i);
    }
    wait_for_earlier();
    for (std::int32_t i = 0; i < kAhead; ++i) {
      if (begin + i < end) {
        Work::load_rows(params, place, begin + i, i);
      }
      copy_async_commit();  // the first group has all of the weight's pieces so far
    }
    Sums sums;
    Sums total;
    Work::clear(sums);
    std::int32_t slice = 0;
    std::int32_t slice_end = kWhole ? linear_slice_begin(1, params.slices, k_blocks) : end;
    for (std::int32_t block_k = begin; block_k < end; ++block_k) {
      const std::int32_t slot = (block_k - begin) % kStages;
      copy_async_wait<kAhead - 1>();
      sync_block();
      if (block_k + kAhead < end) {
        Work::load_weight(params, place, block_k + kAhead, (slot + kAhead) % kStages);
        Work::load_rows(params, place, block_k + kAhead, (slot + kAhead) % kStages);
      }
      copy_async_commit();
      Work::multiply_stage(params, slot, sums);
      if (kWhole && block_k + 1 == slice_end) {
        Work::for_each_sum([&](std::int32_t m, std::int32_t n) {
          for (std::int32_t i = 0; i < 4; ++i) {
            total.at[m][n][i] = slice == 0 ? sums.at[m][n][i] : total.at[m][n][i] + sums.at[m][n][i];
          }
        });
        Work::clear(sums);
        ++slice;
        slice_end = linear_slice_begin(slice + 1, params.slices, k_blocks);
      }
    }
    copy_async_wait<0>();
    if constexpr (kWhole) {
      store(params, place, total);
    } else {
      if (params.slices > 1) {
        if (!leave_slice(params, place, sums)) {
          return;
        }
        add_slices(params, place, sums);
      }
      store(params, place, sums);
    }
  }
};

template <typename Weight>
using LinearRows16 = LinearKernel<Weight, 16, 64, 1, 4, kLinearStagesMax, false>;
template <typename Weight, int kStages>
using LinearRows64 = LinearKernel<Weight, 64, 64, 2, 2, kStages, false>;
template <typename Weight, int kStages>
using LinearRows128 = LinearKernel<Weight, 128, 128, 2, 4, kStages, true>;

}  // namespace coppice::kernels::cuda
