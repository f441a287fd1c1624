// The matrix products of the CUDA device as plain data: the arguments of a launch, and how a product is cut. Needs no
// CUDA header, so that tests that run kernels on the CPU cut in the same way.
//
// Bits. An element of the result is a fold over the K dimension whose order is fixed by (out_features, in_features)
// alone: K is cut in `slices` runs of whole 64-wide blocks; within a slice one accumulator takes the products of 16
// columns at a time in ascending order (one mma or wgmma instruction each); the slices' sums are added in ascending
// order. Every kernel below follows that order, whatever its tile and whether slices are done by one block or by
// several, so a row's result is the same for every number of rows. cuBLASLt is not used, because its kernels promise no
// order of summation, and the choice of kernel depends on the number of rows.
#pragma once

#include <cstddef>
#include <cstdint>

namespace coppice::kernels::cuda {

inline constexpr int kLinearBlockK = 64;  // columns of K in one stage of shared memory; K is padded to it
inline constexpr int kLinearPadN = 128;   // rows of the weight matrix are padded to it
// Blocks to aim for: two on each of 132 multiprocessors (H100); not measured.
inline constexpr int kLinearBlocksWanted = 264;
inline constexpr int kLinearSlicesMax = 16;      // slices of K at most: bounds the cost of adding them up; not measured
inline constexpr int kLinearSliceBlocksMin = 4;  // 64-wide blocks in a slice, at least; chosen, not measured
inline constexpr std::int64_t kLinearWorkspaceBytes = std::int64_t{64} << 20;  // for the slices' partial sums
inline constexpr int kLinearTilesMax = 1 << 16;  // counters of tiles whose slices are done by several blocks

// Returns the number of slices of K: a function of the weight's shape alone.
constexpr int linear_slices(std::int64_t out_features, std::int64_t in_features) {
  const std::int64_t tiles = (out_features + 63) / 64;
  const std::int64_t k_blocks = (in_features + kLinearBlockK - 1) / kLinearBlockK;
  std::int64_t slices = kLinearBlocksWanted / tiles;
  slices = slices < k_blocks / kLinearSliceBlocksMin ? slices : k_blocks / kLinearSliceBlocksMin;
  slices = slices < kLinearSlicesMax ? slices : kLinearSlicesMax;
  return static_cast<int>(slices > 1 ? slices : 1);
}

// A weight of 16-bit elements is stored in tiles of 64 rows x 64 columns, row after row of tiles, each row along K. So
// a block of any kernel reads one run of memory. A tile has the layout of shared memory: rows of 128 bytes whose eight
// pieces of 16 bytes are permuted by the row's number, so that ldmatrix and wgmma have no bank conflicts and the copy
// engine can copy it whole. Weights in float32 are row-major.
inline constexpr int kLinearTileRows = 64;
// Returns the index of element (row, k) of such a weight.
constexpr std::int64_t linear_weight_place(std::int64_t row, std::int64_t k, std::int64_t padded_k) {
  const std::int64_t tile = row / kLinearTileRows * (padded_k / kLinearBlockK) + k / kLinearBlockK;
  const std::int64_t piece = (k % kLinearBlockK / 8) ^ (row % 8);
  return (tile * kLinearTileRows + row % kLinearTileRows) * kLinearBlockK + piece * 8 + k % 8;
}

// How a weight in few bits lies on the device (quantised.h); bits = 0: it does not, its elements are of the type that
// is multiplied in.
struct QuantisedForm {
  std::int32_t bits = 0;   // 4 or 8
  bool is_fp8 = false;     // numbers as kernels/float8.h has them; else unsigned whole numbers
  std::int32_t zero = 0;   // subtracted from whole numbers
  std::int32_t group = 0;  // columns that share a scale: 16, 32 or 64
  bool has_least = false;  // a group has a least as well

  constexpr std::int32_t number_bytes() const { return kLinearTileRows * kLinearBlockK * bits / 8; }  // of a tile
  constexpr std::int32_t scales() const { return kLinearTileRows * (kLinearBlockK / group); }         // of a tile
  // Of a tile: a multiple of 16.
  constexpr std::int32_t tile_bytes() const {
    return number_bytes() + scales() * (has_least ? 2 : 1) * std::int32_t{sizeof(float)};
  }
};

// First 64-wide block of slice `slice`.
constexpr int linear_slice_begin(int slice, int slices, int k_blocks) {
  return static_cast<int>(static_cast<std::int64_t>(k_blocks) * slice / slices);
}

// The kernels, by the tile of the result that one block computes: Whole computes all slices of its tile in registers;
// Split computes one slice, and the last block of a tile adds the slices up. Hopper (hopper.cuh) runs on that chip
// alone; k128x256Hopper requires that K is not cut.
enum class LinearTile : std::uint8_t { k16x64Split, k64x64Split, k128x128Whole, k128x128Hopper, k128x256Hopper };

constexpr int linear_tile_rows(LinearTile tile) {
  return tile == LinearTile::k16x64Split ? 16 : tile == LinearTile::k64x64Split ? 64 : 128;
}
constexpr int linear_tile_columns(LinearTile tile) {
  return tile == LinearTile::k128x256Hopper                                        ? 256
         : tile == LinearTile::k128x128Whole || tile == LinearTile::k128x128Hopper ? 128
                                                                                   : 64;
}
// Blocks share nothing: a block makes whole tiles.
constexpr bool linear_tile_is_whole(LinearTile tile) {
  return tile != LinearTile::k16x64Split && tile != LinearTile::k64x64Split;
}

// Stages of the rings that split and whole tiles of rows come through: as many as suit the device (ring.h).
inline constexpr int kLinearStagesMax = 4;  // three loads in flight
inline constexpr int kLinearStagesMin = 3;  // 128 x 128 then takes 96 KiB, which every device since 8.0 has
struct LinearRings {
  std::int32_t rows64 = kLinearStagesMax;   // of k64x64Split
  std::int32_t rows128 = kLinearStagesMax;  // of k128x128Whole
};

// Returns the kernel for `rows` rows. The choice may depend on the number of rows; the bits do not. hopper: Hopper's
// kernels sum as the others do (probe.h) and take this product (linear_hopper_takes).
constexpr LinearTile choose_linear_tile(std::int64_t rows, std::int64_t out_features, int slices, bool hopper = false) {
  const LinearTile split = rows <= 16 ? LinearTile::k16x64Split : LinearTile::k64x64Split;
  const std::int64_t whole_tiles = (rows + 127) / 128 * ((out_features + 127) / 128);
  const std::int64_t tile_rows = linear_tile_rows(split);
  const std::int64_t padded_rows = (rows + tile_rows - 1) / tile_rows * tile_rows;
  const std::int64_t padded_columns = (out_features + 63) / 64 * 64;
  const std::int64_t split_tiles = padded_rows / tile_rows * (padded_columns / 64);
  const std::int64_t workspace = padded_rows * padded_columns * slices * 4;
  const bool fits = split_tiles <= kLinearTilesMax && (slices == 1 || workspace <= kLinearWorkspaceBytes);
  // Of a tile of 128 rows at least half would be padding.
  const bool fills = rows > 64 && whole_tiles >= kLinearBlocksWanted / 2;
  if (rows <= 16 || (fits && !fills)) {
    return split;
  }
  if (!hopper) {
    return LinearTile::k128x128Whole;
  }
  const bool fills_wide = whole_tiles >= kLinearBlocksWanted;
  return slices == 1 && fills_wide ? LinearTile::k128x256Hopper : LinearTile::k128x128Hopper;
}

// One product: out = in * weight^T + bias, or out += that. All pointers are device memory.
struct LinearArguments {
  const void* in = nullptr;      // [rows, in_features], the weight's type: bf16, f16 or f32
  std::int64_t in_stride = 0;    // elements
  const void* weight = nullptr;  // [padded rows, padded_k] of the type of `in`, tiled or (f32) not, zeros beyond the
                                 // matrix; or tiles of this form
  QuantisedForm form = {};       // of bf16 and f16 factors only
  const float* bias = nullptr;   // [out_features] or null
  void* out = nullptr;           // [rows, out_features], f32 or the weight's type
  std::int64_t out_stride = 0;
  float* workspace = nullptr;         // [slices][padded rows][padded columns] sums of slices, for the split kernels
  std::uint32_t* counters = nullptr;  // [tiles] zeros; zeros again afterwards
  std::int32_t rows = 0;
  std::int32_t out_features = 0;
  std::int32_t in_features = 0;
  std::int32_t padded_k = 0;
  std::int32_t slices = 1;
  LinearRings rings = {};         // of the device
  std::int32_t processors = 132;  // of the GPU: blocks of a kernel whose blocks make tile after tile
  bool out_is_half = false;       // the weight's type, which is bf16 or f16; else f32
  bool adds = false;              // out += (f32 only)
  bool is_aligned = false;        // rows of `in` start at multiples of 16 bytes
};

constexpr bool linear_hopper_takes(const LinearArguments& arguments) {
  return arguments.form.bits == 0 && arguments.is_aligned && arguments.in_features % 8 == 0;
}

}  // namespace coppice::kernels::cuda
