// Weights in few bits on a GPU, as plain data: which numbers a device's tile has and where each lies. Needs no CUDA
// header (linear.h).
//
// The law: a number of the weight is scale · q + least, where q = bits − zero, or an E4M3 number, has the type that is
// multiplied in exactly. The products of a group's columns with q are summed from zero as linear.h has it; then, group
// by group in ascending order, sum = fma(scale, the group's sum, sum) and, where the form has leasts, sum = fma(least,
// the sum of the group's input, sum). So no number of the weight is rounded, and a row's result is the same for every
// number of rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/linear/linear.h"

namespace coppice::kernels::cuda {

// A tile of kLinearTileRows x kLinearBlockK numbers is words of numbers, then float32 scales [group of columns][row],
// then as many leasts where the form has them; without, least is 0. Numbers lie as the fragments of a product have them
// (device/matrix.cuh), so that a lane gets what it needs for 16 rows and 16 columns in one or two words: word [row /
// 16][k / 16][lane][bits = 8: row half], lane = 4 (row % 8) + k % 8 / 2. In it: 4 bits [k % 2][row
// half][column half], so that one shift and one mask make a pair of neighbours; 8 bits [column half][k % 2].
struct QuantisedPlace {
  std::int32_t word;
  std::int32_t shift;  // bits
};
constexpr QuantisedPlace quantised_place(QuantisedForm form, std::int32_t row, std::int32_t k) {
  const std::int32_t lane = row % 8 * 4 + k % 8 / 2;
  const std::int32_t row_half = row % 16 / 8;
  const std::int32_t place = (row / 16 * (kLinearBlockK / 16) + k / 16) * 32 + lane;
  const std::int32_t k_half = k % 16 / 8;
  return form.bits == 4 ? QuantisedPlace{place, 4 * (2 * row_half + k_half) + 16 * (k % 2)}
                        : QuantisedPlace{2 * place + row_half, 8 * (2 * k_half + k % 2)};
}

// Of the floats behind the numbers: the scale's. The least is form.scales() further.
constexpr std::int32_t quantised_scale_place(QuantisedForm form, std::int32_t row, std::int32_t k) {
  return k / form.group * kLinearTileRows + row;
}

}  // namespace coppice::kernels::cuda
