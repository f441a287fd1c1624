// Matrix products in float32 without tensor cores: for tests and float32 models. Every element is one sum over
// ascending K by fused multiply-adds, so a row's result is the same for every number of rows.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/linear/tile.cuh"

namespace coppice::kernels::cuda {

// One block makes 64 x 64 elements, a thread 4 x 4 of them.
struct LinearF32Kernel {
  static constexpr std::int32_t kTile = 64;                    // rows and columns of a block's output tile
  static constexpr std::int32_t kDepth = 16;                   // columns of K in shared memory at a time
  static constexpr std::int32_t kThreadsMax = 256;             // of a block: 4 x 4 outputs each
  static constexpr std::int32_t kBlocksPerMultiprocessor = 2;  // limited by registers; compiled for, not measured
  static constexpr std::int32_t kRowFloats = kTile + 4;        // of [kDepth][tile]; rows stay aligned to 16 bytes
  static constexpr std::int32_t kPartBytes = kDepth * kRowFloats * 4;  // of shared memory for one operand
  static constexpr std::int32_t kSharedBytesMax = 2 * kPartBytes;      // of a block: both operands

  struct Params {
    Global<const float> in;
    std::int64_t in_stride;
    Global<const float> weight;  // [padded rows, padded_k]
    LinearOutput<float> output;
    std::int32_t in_features;
    std::int32_t padded_k;
    std::int32_t row_tiles;
  };

  static COPPICE_DEVICE void run(const Params& params) {
    const std::int32_t row_begin = block_index() % params.row_tiles * kTile;
    const std::int32_t column_begin = block_index() / params.row_tiles * kTile;
    const Shared<float> rows = shared_array<float>(0);
    const Shared<float> columns = shared_array<float>(kPartBytes);
    const std::int32_t thread_row = thread_index() / 16 * 4;
    const std::int32_t thread_column = thread_index() % 16 * 4;
    float sums[4][4] = {};
    for (std::int32_t k_begin = 0; k_begin < params.padded_k; k_begin += kDepth) {
      for (std::int32_t i = thread_index(); i < kTile * kDepth; i += kThreadsMax) {
        const std::int32_t row = i / kDepth;
        const std::int32_t k = k_begin + i % kDepth;
        const bool is_in = row_begin + row < params.output.rows && k < params.in_features;
        const std::int32_t place = i % kDepth * kRowFloats + row;
        rows[place] = is_in ? static_cast<float>(params.in[(row_begin + row) * params.in_stride + k]) : 0.0F;
        columns[place] = params.weight[std::int64_t{column_begin + row} * params.padded_k + k];
      }
      sync_block();
      for (std::int32_t k = 0; k < kDepth; ++k) {
        const auto a = load_as<Vector<float, 4>>(rows + k * kRowFloats + thread_row);
        const auto b = load_as<Vector<float, 4>>(columns + k * kRowFloats + thread_column);
        for (std::int32_t i = 0; i < 4; ++i) {
          for (std::int32_t j = 0; j < 4; ++j) {
            sums[i][j] = fmaf(a.at[i], b.at[j], sums[i][j]);
          }
        }
      }
      sync_block();
    }
    for (std::int32_t i = 0; i < 4; ++i) {
      for (std::int32_t j = 0; j < 4; ++j) {
        params.output.store(row_begin + thread_row + i, column_begin + thread_column + j, sums[i][j]);
      }
    }
  }
};

}  // namespace coppice::kernels::cuda
