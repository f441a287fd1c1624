// The large matrix product on Hopper: the same function as LinearRows128, to the bit if the chip sums sixteen products
// of a wgmma as it sums those of an mma (probe.h checks). Products run while the next stages arrive.
//
// A block has three warpgroups. Two multiply: each has 64 rows of the tile and all of its columns. The third loads
// stages (hopper_ring.cuh). The grid is as large as the chip, and a block continues with its next tile without a pause
// for the first copies.
#pragma once

#include "kernels/cuda/linear/hopper_ring.cuh"

namespace coppice::kernels::cuda {

// kFolds: K may be cut in several slices.
template <typename Number, int kColumns, bool kFolds>
struct LinearHopperKernel : LinearHopperRing<Number, kColumns> {
  using Element = Number;
  using Ring = LinearHopperRing<Number, kColumns>;
  using Ring::empty;
  using Ring::for_each_tile;
  using Ring::full;
  using Ring::kGroups;
  using Ring::kRowElements;
  using Ring::kRows;
  using typename Ring::Params;
  using typename Ring::Turn;
  static constexpr std::int32_t kBlocksPerMultiprocessor = 1;  // a block takes most of the shared memory
  static constexpr std::int32_t kSums = kColumns / 2;          // of a thread

  // Starts the stage's products, 16 columns of K at a time, ascending; they are still running when this returns.
  static COPPICE_DEVICE void multiply_stage(std::int32_t group, std::int32_t slot, float (&sums)[kSums]) {
    const Shared<const Element> in = Ring::stage_in(slot) + group * 64 * kRowElements;
    const Shared<const Element> weight = Ring::stage_weight(slot);
    multiply_begin(sums);
#pragma unroll
    for (std::int32_t step = 0; step < kLinearBlockK / 16; ++step) {
      multiply_async<Element>(sums, matrix_descriptor(in + 16 * step, 16, Ring::kPatternBytes, SharedSwizzle::k128),
                              matrix_descriptor(weight + 16 * step, 16, Ring::kPatternBytes, SharedSwizzle::k128));
    }
    multiply_commit();
  }

  static COPPICE_DEVICE void release(std::int32_t slot) {
    if (lane_index() == 0) {
      barrier_arrive(empty(slot));
    }
  }

  // Blocks [begin, end) of K into `sums`, one stage's products under way while the next one's start.
  static COPPICE_DEVICE void multiply_slice(std::int32_t group, std::int32_t begin, std::int32_t end, Turn& turn,
                                            float (&sums)[kSums]) {
#pragma unroll
    for (std::int32_t i = 0; i < kSums; ++i) {
      sums[i] = 0.0F;
    }
    std::int32_t before = turn.slot;
    for (std::int32_t block_k = begin; block_k < end; ++block_k) {
      barrier_wait(full(turn.slot), turn.round);
      multiply_stage(group, turn.slot, sums);
      multiply_wait<1>(sums);
      if (block_k > begin) {
        release(before);
      }
      before = turn.slot;
      turn.step();
    }
    multiply_wait<0>(sums);
    release(before);
  }

  // Two neighbouring columns.
  static COPPICE_DEVICE void store_pair(const Params& params, std::int32_t row, std::int32_t column, float first,
                                        float second) {
    const LinearOutput<Element>& output = params.linear.output;
    if (!params.stores_pairs || column + 1 >= output.columns) {
      output.store(row, column, first);
      output.store(row, column + 1, second);
      return;
    }
    if (row >= output.rows) {
      return;
    }
    const std::int64_t place = row * output.stride + column;
    if (output.has_bias) {
      first += output.bias[column];
      second += output.bias[column + 1];
    }
    if (output.out_is_half) {
      store_as(output.out_half + place, Vector<Element, 2>{{from_float<Element>(first), from_float<Element>(second)}});
      return;
    }
    if (output.adds) {
      const auto there = load_as<Vector<float, 2>>(output.out + place);
      first = there.at[0] + first;
      second = there.at[1] + second;
    }
    store_as(output.out + place, Vector<float, 2>{{first, second}});
  }

  static COPPICE_DEVICE void store(const Params& params, const LinearPlace& place, const float (&sums)[kSums]) {
    const std::int32_t row = place.row_tile * kRows + warp_index() * 16 + lane_index() / 4;
    const std::int32_t column = place.column_tile * kColumns + lane_index() % 4 * 2;
#pragma unroll
    for (std::int32_t i = 0; i < kSums; i += 2) {
      store_pair(params, row + i / 2 % 2 * 8, column + i / 4 * 8, sums[i], sums[i + 1]);
    }
  }

  static COPPICE_DEVICE void multiply(const Params& params) {
    const std::int32_t group = warp_index() / 4;
    const std::int32_t k_blocks = params.linear.padded_k / kLinearBlockK;
    const std::int32_t slices = params.linear.slices;
    Turn turn;
    for_each_tile(params, [&](const LinearPlace& place) {
      float sums[kSums];
      if constexpr (kFolds) {
        float total[kSums];
        for (std::int32_t slice = 0; slice < slices; ++slice) {
          multiply_slice(group, linear_slice_begin(slice, slices, k_blocks),
                         linear_slice_begin(slice + 1, slices, k_blocks), turn, sums);
#pragma unroll
          for (std::int32_t i = 0; i < kSums; ++i) {
            total[i] = slice == 0 ? sums[i] : total[i] + sums[i];
          }
        }
        store(params, place, total);
      } else {
        multiply_slice(group, 0, k_blocks, turn, sums);
        store(params, place, sums);
      }
    });
  }

  static COPPICE_DEVICE void run(const Params& params) {
    if (thread_index() == 0) {
      for (std::int32_t slot = 0; slot < Ring::kStages; ++slot) {
        barrier_initialise(full(slot), Ring::kGroupThreads + 1);
        barrier_initialise(empty(slot), kGroups * 4);
      }
      barrier_publish();
    }
    sync_block();
    if (warp_index() < kGroups * 4) {
      multiply(params);
    } else {
      Ring::bring(params);
    }
  }
};

// With several slices a thread holds their total beside the sums, so the tile is narrower.
template <typename Element>
using LinearHopper128 = LinearHopperKernel<Element, 128, true>;
template <typename Element>
using LinearHopper256 = LinearHopperKernel<Element, 256, false>;

}  // namespace coppice::kernels::cuda
