// Sizes of the attention kernel for one head dimension; storage for queries and results of a warp's sixteen rows.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/attention/device_plan.h"
#include "kernels/cuda/cache/kv_layout.h"

namespace coppice::kernels::cuda {

inline constexpr std::int32_t kStepKeys = 16;  // keys of a step: k of mma.m16n8k16
inline constexpr std::int32_t kTileRows = 16;  // matrix rows of a warp: m of mma.m16n8k16

// Sizes that follow from a head dimension; `dim` is a padded one. Elements, unless bytes are said. whole: the head
// dimension is `dim` itself, so that the places of a head's numbers are known when the kernel is compiled.
template <typename Element, std::int32_t dim, bool whole>
struct AttentionShape {
  using Number = Element;
  static COPPICE_DEVICE std::int32_t head_dim(const KvLayout& layout) { return whole ? dim : layout.head_dim; }
  static constexpr std::int32_t kDim = dim;                     // of a head
  static constexpr std::int32_t kWarps = attention_warps(dim);  // of a block: each has a tile of rows
  static constexpr std::int32_t kColumnTiles = dim / 8;         // of an output row
  static constexpr std::int32_t kDepthSteps = dim / 16;         // of a score
  // A row of a tile takes an odd number of bank groups, so eight rows of a matrix lie in eight groups.
  static constexpr std::int32_t kRowStride = dim + 8;
  static constexpr std::int32_t kChunk = 16 / sizeof(Number);  // elements that one asynchronous copy brings
  static constexpr std::int32_t kTileElements = kStepKeys * kRowStride;
  static constexpr std::int32_t kStageElements = 2 * kWarps * kTileElements;  // K of every warp's step, then V
  static constexpr std::int32_t kStageBytes = kStageElements * sizeof(Number);
  // Queries, and results of all splits so far: in registers, or where a head is too wide in shared memory.
  static constexpr bool kFitsRegisters = dim <= 128;
  static constexpr std::int32_t kFragmentBytes = kColumnTiles * kWarpLanes * 16;  // one warp's rows in float
  // Of shared memory for sums that do not fit in registers.
  static constexpr std::int32_t kTotalBytes = kFitsRegisters ? 0 : kWarps * kFragmentBytes;
  static constexpr std::int32_t kQueryBytes = kFitsRegisters ? 0 : kWarps * kTileElements * sizeof(Number);
  static constexpr std::int32_t kExchangeBytes = kFragmentBytes + kWarpLanes * 16;  // and (m, l)
  static_assert((kWarps - 1) * kExchangeBytes <= kStageBytes, "what warps hand over fits in a used stage");
  static constexpr std::int32_t kShares = 1;  // warps that sum the columns of a row
  // As many as can work on one tile of rows and one split: all of a block, if that gives each whole pairs of column
  // tiles.
  static constexpr std::int32_t kSharesMax = kFitsRegisters && kColumnTiles % (2 * kWarps) == 0 ? kWarps : 1;
};

// A share of the columns: what a warp sums where all warps of a block work on the same rows and the same split.
template <typename Shape>
struct ColumnShare : Shape {
  static constexpr std::int32_t kShares = Shape::kSharesMax;                   // warps that sum the columns of a row
  static constexpr std::int32_t kColumnTiles = Shape::kColumnTiles / kShares;  // of a warp
  static constexpr std::int32_t kColumns = kColumnTiles * 8;                   // of a warp
};

// Numbers of an output fragment: column tile n, numbers 0, 1 of the lane's first row and 2, 3 of its second, columns
// 8 n + 2 (lane % 4) and the next.
template <typename Shape>
struct RegisterFragment {
  static constexpr std::int32_t kColumnTiles = Shape::kColumnTiles;  // of this warp
  float at[kColumnTiles][4];

  COPPICE_DEVICE Vector<float, 4> get(std::int32_t n) const { return {{at[n][0], at[n][1], at[n][2], at[n][3]}}; }
  COPPICE_DEVICE void set(std::int32_t n, const Vector<float, 4>& value) {
#pragma unroll
    for (std::int32_t i = 0; i < 4; ++i) {
      at[n][i] = value.at[i];
    }
  }
  COPPICE_DEVICE void clear() {
#pragma unroll
    for (std::int32_t n = 0; n < Shape::kColumnTiles; ++n) {
      set(n, {});
    }
  }
};

// The same in shared memory, every lane's numbers its own.
template <typename Shape>
struct SharedFragment {
  static constexpr std::int32_t kColumnTiles = Shape::kColumnTiles;  // of this warp
  Shared<float> base;

  COPPICE_DEVICE Shared<float> place(std::int32_t n) const { return base + (n * kWarpLanes + lane_index()) * 4; }
  COPPICE_DEVICE Vector<float, 4> get(std::int32_t n) const { return load_as<Vector<float, 4>>(place(n)); }
  COPPICE_DEVICE void set(std::int32_t n, const Vector<float, 4>& value) const { store_as(place(n), value); }
  COPPICE_DEVICE void clear() const {
    for (std::int32_t n = 0; n < Shape::kColumnTiles; ++n) {
      set(n, {});
    }
  }
};

// Queries of a warp's sixteen rows, as the first factor of products.
template <typename Shape>
struct RegisterQuery {
  std::uint32_t at[Shape::kDepthSteps][4];

  COPPICE_DEVICE void get(std::int32_t k, std::uint32_t (&words)[4]) const {
#pragma unroll
    for (std::int32_t i = 0; i < 4; ++i) {
      words[i] = at[k][i];
    }
  }
  COPPICE_DEVICE void set(std::int32_t k, std::int32_t i, std::uint32_t word) {
    at[k][i] = word;
  }
};
template <typename Shape>
struct SharedQuery {
  Shared<typename Shape::Number> rows;

  COPPICE_DEVICE void get(std::int32_t k, std::uint32_t (&words)[4]) const {
    load_matrix_x4(words, rows + lane_index() % 16 * Shape::kRowStride + lane_index() / 16 * 8 + k * 16);
  }
  COPPICE_DEVICE void set(std::int32_t k, std::int32_t i, std::uint32_t word) const {
    const std::int32_t row = lane_index() / 4 + i % 2 * 8;
    store_as(rows + row * Shape::kRowStride + k * 16 + i / 2 * 8 + lane_index() % 4 * 2, word);
  }
};

}  // namespace coppice::kernels::cuda
