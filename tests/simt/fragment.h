// What a warp does together on matrices: loads of 8x8 tiles from shared memory, and 16x8x16 products. The layouts are
// those of the PTX ISA (sections on ldmatrix and on fragments of mma.m16n8k16).
#pragma once

#include <array>
#include <cstdint>

#include "tests/simt/machine.h"

namespace coppice::simt {

struct MatrixRow {
  std::int32_t offset;  // of 16 bytes in shared memory
  std::uint32_t* out;   // four words
};

struct ProductLane {
  float* d;  // four numbers
  std::uint32_t a[4];
  std::uint32_t b[2];
};

// lanes: MatrixRow of each lane. Counts what the loads cost in bank conflicts.
void load_matrices(Machine& machine, const std::array<void*, kLanes>& lanes, bool transposed);

// lanes: ProductLane of each lane. Sums run over k in ascending order, in float.
void multiply_16x8x16(const std::array<void*, kLanes>& lanes, bool is_bf16);

}  // namespace coppice::simt
