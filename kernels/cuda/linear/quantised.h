// Weights in few bits on a GPU, as plain data: which numbers a device's tile has and where each lies. Needs no CUDA
// header (linear.h).
//
// The law: number (row, k) is scale · (bits − zero) + least in float32, or scale · fp8, each operation rounded once,
// then rounded to the type that is multiplied in. Those are the numbers of a weight that is widened when it is loaded,
// and they meet the sums of linear.h in the same order, so a product has the same bits either way.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/linear/linear.h"

namespace coppice::kernels::cuda {

// A tile of kLinearTileRows x kLinearBlockK numbers is words of numbers, then float32 scales [group of columns][row],
// then as many leasts where the form has them; without, least is 0. Numbers lie as the fragments of a product have them
// (device/matrix.cuh), so that a lane gets what it needs for 16 rows and 16 columns in one or two words: word [row /
// 16][k / 16][lane][bits = 8: row half], lane = 4 (row % 8) + k % 8 / 2, and in it row half, column half, k % 2.
struct QuantisedPlace {
  std::int32_t word;
  std::int32_t shift;  // bits
};
constexpr QuantisedPlace quantised_place(QuantisedForm form, std::int32_t row, std::int32_t k) {
  const std::int32_t lane = row % 8 * 4 + k % 8 / 2;
  const std::int32_t row_half = row % 16 / 8;
  const std::int32_t within = k % 16 / 8 * 2 + k % 2;
  const std::int32_t place = (row / 16 * (kLinearBlockK / 16) + k / 16) * 32 + lane;
  return form.bits == 4 ? QuantisedPlace{place, 4 * (4 * row_half + within)}
                        : QuantisedPlace{2 * place + row_half, 8 * within};
}

// Of the floats behind the numbers: the scale's. The least is form.scales() further.
constexpr std::int32_t quantised_scale_place(QuantisedForm form, std::int32_t row, std::int32_t k) {
  return k / form.group * kLinearTileRows + row;
}

}  // namespace coppice::kernels::cuda
