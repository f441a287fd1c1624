// Tensor cores on the emulator: fragments go to the machine's plain matrices and back (tests/simt/fragment.h).
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/cuda/element.h"
#include "tests/simt/device/memory.cuh"
#include "tests/simt/fragment.h"

namespace coppice::kernels::cuda {

template <typename T>
void load_matrix(const char* kind, std::uint32_t (&out)[4], Shared<T> row, bool transposed, const Place& where) {
  static_assert(sizeof(T) == 2);
  simt::MatrixRow self{row.place(16, 16), out};
  simt::Machine& machine = simt::Machine::current();
  const simt::Thread& thread = machine.thread();
  thread.block->shared->read({thread.index, thread.warp()}, self.offset, 16);
  machine.warp_meeting(kind, &self, where, [&](const std::array<void*, simt::kLanes>& lanes) {
    simt::load_matrices(machine, lanes, transposed);
  });
}
template <typename T>
void load_matrix_x4(std::uint32_t (&out)[4], Shared<T> row, const Place& where = Place::current()) {
  load_matrix("load_matrix_x4", out, row, false, where);
}
template <typename T>
void load_matrix_x4_transposed(std::uint32_t (&out)[4], Shared<T> row, const Place& where = Place::current()) {
  load_matrix("load_matrix_x4_transposed", out, row, true, where);
}

template <typename Element>
void multiply_accumulate(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                         const Place& where = Place::current()) {
  static_assert(kIsHalf<Element>);
  simt::ProductLane self{d, {a[0], a[1], a[2], a[3]}, {b0, b1}};
  simt::Machine& machine = simt::Machine::current();
  machine.warp_meeting("multiply_accumulate", &self, where, [&](const std::array<void*, simt::kLanes>& lanes) {
    ++machine.counters().products;
    simt::multiply_16x8x16(lanes, std::is_same_v<Element, Bf16>);
  });
}

}  // namespace coppice::kernels::cuda
