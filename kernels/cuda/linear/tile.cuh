// A tile of a matrix product: how a block brings pieces of both matrices into shared memory and multiplies them on
// tensor cores. Pieces come through a ring of stages (cp.async), rows of 128 bytes whose 16-byte pieces are permuted by
// the row's number so that ldmatrix meets no bank twice.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/linear/linear.h"

namespace coppice::kernels::cuda {

// Where a finished number goes. Element: the type of the factors.
template <typename Element>
struct LinearOutput {
  Global<const float> bias;  // read only if has_bias
  Global<float> out;         // one of the two, as out_is_half says
  Global<Element> out_half;
  std::int64_t stride;
  std::int32_t rows;
  std::int32_t columns;
  bool has_bias;
  bool out_is_half;
  bool adds;

  COPPICE_DEVICE void store(std::int32_t row, std::int32_t column, float value) const {
    if (row >= rows || column >= columns) {
      return;
    }
    const std::int64_t place = row * stride + column;
    if (has_bias) {
      value += bias[column];
    }
    if (out_is_half) {
      out_half[place] = from_float<Element>(value);
    } else {
      out[place] = adds ? out[place] + value : value;
    }
  }
};

template <typename Element>
struct LinearParams {
  Global<const Element> in;
  std::int64_t in_stride;
  Global<const Element> weight;
  Global<float> workspace;  // [slices][tiles][elements of a tile]; a split kernel with several slices only
  Global<std::uint32_t> counters;
  LinearOutput<Element> output;
  std::int32_t in_features;
  std::int32_t padded_k;
  std::int32_t slices;
  std::int32_t row_tiles;
  std::int32_t column_tiles;
  bool is_aligned;
};

// Which tile, and which slice of it.
struct LinearPlace {
  std::int32_t row_tile;
  std::int32_t column_tile;
  std::int32_t slice;
};

// The tile of kLinearTileRows rows that a row of kTiles of them is in.
template <int kTiles>
COPPICE_DEVICE std::int32_t tile_of(std::int32_t row) {
  return kTiles == 1 ? 0 : row / kLinearTileRows;
}

// How a tile gets at a weight of elements, Bf16 or F16; QuantisedWeight (quantised.cuh) has the same members. Tiles lie
// in memory as they lie here.
template <typename Number>
struct DenseWeight {
  using Element = Number;
  using Params = LinearParams<Element>;
  static constexpr bool kHasScales = false;
  static constexpr std::int32_t kPieces = kLinearBlockK / 8;  // of 16 bytes in a row
  // Bytes of shared memory that a tile takes, at most.
  static constexpr std::int32_t kTileBytesMax = kLinearTileRows * kLinearBlockK * std::int32_t{sizeof(Element)};

  // Copies kTiles tiles from column tile `tile_begin` on, block_k of each, to shared memory at `offset` bytes.
  template <int kTiles, int kThreads>
  static COPPICE_DEVICE void load(const Params& params, std::int32_t tile_begin, std::int32_t block_k,
                                  std::int32_t offset) {
    const Shared<Element> weights = shared_array<Element>(offset);
    constexpr std::int32_t kTilePieces = kLinearTileRows * kPieces;  // 16-byte pieces of a packed weight tile
    const std::int32_t k_blocks = params.padded_k / kLinearBlockK;
    static_assert(kTiles * kTilePieces % kThreads == 0);
    // Where the tile leaves registers for the addresses. Only the GPU's compiler reads it.
    [[maybe_unused]] constexpr std::int32_t kUnrolled = kTiles == 1 ? kTilePieces / kThreads : 1;
#pragma unroll kUnrolled
    for (std::int32_t begin = 0; begin < kTiles * kTilePieces; begin += kThreads) {
      const std::int32_t i = begin + thread_index();
      const std::int64_t tile = std::int64_t{tile_begin + i / kTilePieces} * k_blocks + block_k;
      copy_async_16(weights + 8 * i, params.weight + 8 * (tile * kTilePieces + i % kTilePieces));
    }
  }

  // The factors of rows [row_begin, row_begin + 16) and columns [16 step, 16 step + 16): b[0] and b[1] of the first
  // eight rows, b[2] and b[3] of the others.
  template <int kTiles>
  static COPPICE_DEVICE void fragment(const Params& /*params*/, std::int32_t offset, std::int32_t row_begin,
                                      std::int32_t step, std::uint32_t (&b)[4]) {
    const std::int32_t lane = lane_index();
    const std::int32_t row = row_begin + lane / 16 * 8 + lane % 8;
    const std::int32_t piece = 2 * step + lane / 8 % 2;
    load_matrix_x4(b, shared_array<const Element>(offset) + (row * kLinearBlockK + (piece ^ (row % kPieces)) * 8));
  }
};

// kRows x kColumns elements by kWarpsM x kWarpsN warps, through a ring of kStages. Weight: DenseWeight or
// QuantisedWeight.
template <typename Weight, int kRows, int kColumns, int kWarpsM, int kWarpsN, int kStages>
struct LinearTileWork {
  using Element = typename Weight::Element;
  using Params = typename Weight::Params;
  static constexpr std::int32_t kWarpRows = kWarpsM;                           // warps one below the other
  static constexpr std::int32_t kRowElements = kLinearBlockK;                  // of a row in a stage
  static constexpr std::int32_t kPieces = kRowElements / 8;                    // of 16 bytes in a row
  static constexpr std::int32_t kThreadsMax = kWarpsM * kWarpsN * kWarpLanes;  // of a block
  static constexpr std::int32_t kWeightTiles = kColumns / kLinearTileRows;     // of the weight in a stage
  // Of a stage: the input at 2 bytes an element, then the weight.
  static constexpr std::int32_t kInBytes = kRows * kRowElements * 2;
  static constexpr std::int32_t kStageBytes = kInBytes + kWeightTiles * Weight::kTileBytesMax;
  static constexpr std::int32_t kFlagOffset = kStages * kStageBytes;  // bytes: behind the stages
  // Of a block: stages and the flag, kept at 16 bytes.
  static constexpr std::int32_t kSharedBytesMax = kFlagOffset + 16;
  static constexpr std::int32_t kTilesM = kRows / kWarpsM / 16;    // 16-row fragments of a warp
  static constexpr std::int32_t kTilesN = kColumns / kWarpsN / 8;  // 8-column fragments of a warp
  static_assert(kTilesN % 2 == 0 && kColumns % kLinearTileRows == 0);

  struct Sums {
    float at[kTilesM][kTilesN][4];
  };

  static COPPICE_DEVICE std::int32_t shared_place(std::int32_t row, std::int32_t piece) {
    return row * kRowElements + (piece ^ (row % kPieces)) * 8;
  }

  // Columns [8 piece, 8 piece + 8) of the stage's first column on, one row of `in`; zeros beyond the matrix.
  static COPPICE_DEVICE void load_in(const Params& params, Shared<Element> stage, std::int32_t row_begin,
                                     std::int32_t k_begin, std::int32_t row, std::int32_t piece) {
    const std::int32_t k = k_begin + 8 * piece;
    const bool row_is_in = row_begin + row < params.output.rows;
    const Shared<Element> to = stage + shared_place(row, piece);
    const std::int64_t from = (row_is_in ? row_begin + row : 0) * params.in_stride;
    if (params.is_aligned && (k + 8 <= params.in_features || k >= params.in_features)) {
      const bool present = row_is_in && k < params.in_features;
      copy_async_16_or_zeros(to, params.in + (present ? from + k : 0), present);
      return;
    }
    Vector<Element, 8> values;
    for (std::int32_t i = 0; i < 8; ++i) {
      values.at[i] =
          row_is_in && k + i < params.in_features ? static_cast<Element>(params.in[from + k + i]) : Element{0};
    }
    store_as(to, values);
  }

  static COPPICE_DEVICE void load_rows(const Params& params, const LinearPlace& place, std::int32_t block_k,
                                       std::int32_t slot) {
    const Shared<Element> stage = shared_array<Element>(slot * kStageBytes);
    const std::int32_t k_begin = block_k * kLinearBlockK;
    static_assert(kRows * kPieces % kThreadsMax == 0);
    // Where the tile leaves registers for the addresses. Only the GPU's compiler reads it.
    [[maybe_unused]] constexpr std::int32_t kUnrolled = kRows <= 64 ? kRows * kPieces / kThreadsMax : 1;
#pragma unroll kUnrolled
    for (std::int32_t begin = 0; begin < kRows * kPieces; begin += kThreadsMax) {
      const std::int32_t i = begin + thread_index();
      load_in(params, stage, place.row_tile * kRows, k_begin, i / kPieces, i % kPieces);
    }
  }

  static COPPICE_DEVICE void load_weight(const Params& params, const LinearPlace& place, std::int32_t block_k,
                                         std::int32_t slot) {
    Weight::template load<kWeightTiles, kThreadsMax>(params, place.column_tile * kWeightTiles, block_k,
                                                     slot * kStageBytes + kInBytes);
  }

  // sums += the stage's products, 16 columns of K at a time, ascending.
  static COPPICE_DEVICE void multiply_stage(const Params& params, std::int32_t slot, Sums& sums) {
    if constexpr (Weight::kHasScales) {
      Weight::template multiply_stage<LinearTileWork>(params, slot, sums);
      return;
    }
    const Shared<const Element> stage = shared_array<Element>(slot * kStageBytes);
    const std::int32_t row_begin = warp_index() % kWarpsM * kTilesM * 16;
    const std::int32_t column_begin = warp_index() / kWarpsM * kTilesN * 8;
    const std::int32_t lane = lane_index();
#pragma unroll
    for (std::int32_t step = 0; step < kLinearBlockK / 16; ++step) {
      std::uint32_t a[kTilesM][4];
#pragma unroll
      for (std::int32_t m = 0; m < kTilesM; ++m) {
        load_matrix_x4(a[m], stage + shared_place(row_begin + 16 * m + lane % 16, 2 * step + lane / 16));
      }
#pragma unroll
      for (std::int32_t n = 0; n < kTilesN; n += 2) {
        std::uint32_t b[4];
        Weight::template fragment<kWeightTiles>(params, slot * kStageBytes + kInBytes, column_begin + 8 * n, step, b);
#pragma unroll
        for (std::int32_t m = 0; m < kTilesM; ++m) {
          multiply_accumulate<Element>(sums.at[m][n], a[m], b[0], b[1]);
          multiply_accumulate<Element>(sums.at[m][n + 1], a[m], b[2], b[3]);
        }
      }
    }
  }

  template <typename Visit>
  static COPPICE_DEVICE void for_each_sum(const Visit& visit) {
#pragma unroll
    for (std::int32_t m = 0; m < kTilesM; ++m) {
#pragma unroll
      for (std::int32_t n = 0; n < kTilesN; ++n) {
        visit(m, n);
      }
    }
  }

  static COPPICE_DEVICE void clear(Sums& sums) {
    for_each_sum([&](std::int32_t m, std::int32_t n) {
      for (std::int32_t i = 0; i < 4; ++i) {
        sums.at[m][n][i] = 0.0F;
      }
    });
  }
};

}  // namespace coppice::kernels::cuda
