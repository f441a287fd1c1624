// The element types of kernels and fixed-size vectors of them: bits without arithmetic, the same for the host, the GPU
// and the emulator. Conversions are primitives (device/number.cuh).
#pragma once

#include <cstdint>
#include <type_traits>

namespace coppice::kernels::cuda {

struct Bf16 {
  std::uint16_t bits;
};
struct F16 {
  std::uint16_t bits;
};

// `count` neighbours that are read or written at once: one access of sizeof(T) * count bytes, so aligned.
template <typename T, int count>
struct alignas(sizeof(T) * count) Vector {
  T at[count];
};

template <typename Element>
inline constexpr bool kIsHalf = std::is_same_v<Element, Bf16> || std::is_same_v<Element, F16>;

}  // namespace coppice::kernels::cuda
