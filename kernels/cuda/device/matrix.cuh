// Tensor cores: fragments of 16x8x16 products and how they are fetched from shared memory. All 32 lanes call together.
//
// Fragments of multiply_accumulate(), with group = lane / 4 and pair = lane % 4 (PTX ISA, "Matrix Fragments for
// mma.m16n8k16 with floating point type"); each word of a and b holds two neighbours, the first in the low half:
//   a: A[group][2 pair], A[group + 8][2 pair], A[group][2 pair + 8], A[group + 8][2 pair + 8]   (and the next column)
//   b: B[2 pair][group], B[2 pair + 8][group]                                                    (and the next row)
//   d: D[group][2 pair], D[group][2 pair + 1], D[group + 8][2 pair], D[group + 8][2 pair + 1]
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/element.h"
#include "memory.cuh"

namespace coppice::kernels::cuda {

// Four 8x8 matrices of 16-bit elements: lane i names the i % 8th row (16 bytes, aligned) of matrix i / 8; out[j] is
// row lane / 4, columns 2 (lane % 4) and the next, of matrix j.
template <typename T>
COPPICE_DEVICE void load_matrix_x4(std::uint32_t (&out)[4], const T* row) {
  static_assert(sizeof(T) == 2);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row))
               : "memory");
}
// The same, each matrix transposed on its way.
template <typename T>
COPPICE_DEVICE void load_matrix_x4_transposed(std::uint32_t (&out)[4], const T* row) {
  static_assert(sizeof(T) == 2);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row))
               : "memory");
}

// d += A B, products of bf16 or f16 summed in float.
template <typename Element>
COPPICE_DEVICE void multiply_accumulate(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                        std::uint32_t b1) {
  static_assert(kIsHalf<Element>);
  if constexpr (std::is_same_v<Element, Bf16>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

}  // namespace coppice::kernels::cuda
