// Sixteen float lanes with the same operations on every instruction set: one 512-bit register, two 256-bit registers,
// or an array. For bodies only (isa.h): everything is forced inline and lives in the body's namespace. The order of
// every reduction is fixed, so a result depends on the numbers alone, never on alignment, the thread or the row.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef COPPICE_ISA
#error "simd.h is for bodies compiled by coppice_isa_sources"
#endif

#define COPPICE_INLINE static inline __attribute__((always_inline))
// After a lambda's parameters.
#define COPPICE_INLINE_LAMBDA __attribute__((always_inline))

namespace coppice::kernels::cpu::COPPICE_ISA {

inline constexpr std::int64_t kLanes = 16;  // floats of a vector: 64 bytes, one AVX-512 register, two of AVX2

struct F32x16 {
#if defined(__AVX512F__)
  __m512 v;
#elif defined(__AVX2__)
  __m256 low, high;
#else
  float lane[16];
#endif
};

#if defined(__AVX512F__)
#define COPPICE_SIMD_BINARY(name, suffix, scalar)  \
  COPPICE_INLINE F32x16 name(F32x16 a, F32x16 b) { \
    return {_mm512_##suffix(a.v, b.v)};            \
  }
#elif defined(__AVX2__)
#define COPPICE_SIMD_BINARY(name, suffix, scalar)                            \
  COPPICE_INLINE F32x16 name(F32x16 a, F32x16 b) {                           \
    return {_mm256_##suffix(a.low, b.low), _mm256_##suffix(a.high, b.high)}; \
  }
#else
#define COPPICE_SIMD_BINARY(name, suffix, scalar)  \
  COPPICE_INLINE F32x16 name(F32x16 a, F32x16 b) { \
    F32x16 out;                                    \
    for (int i = 0; i < 16; ++i) {                 \
      const float x = a.lane[i];                   \
      const float y = b.lane[i];                   \
      out.lane[i] = scalar;                        \
    }                                              \
    return out;                                    \
  }
#endif

COPPICE_SIMD_BINARY(add, add_ps, x + y)
COPPICE_SIMD_BINARY(subtract, sub_ps, x - y)
COPPICE_SIMD_BINARY(multiply, mul_ps, x* y)
COPPICE_SIMD_BINARY(divide, div_ps, x / y)
// A NaN in `b` is returned, one in `a` is not.
COPPICE_SIMD_BINARY(maximum, max_ps, x > y ? x : y)
COPPICE_SIMD_BINARY(minimum, min_ps, x < y ? x : y)
#undef COPPICE_SIMD_BINARY

COPPICE_INLINE F32x16 broadcast(float x) {
#if defined(__AVX512F__)
  return {_mm512_set1_ps(x)};
#elif defined(__AVX2__)
  return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
#else
  F32x16 out;
  for (float& lane : out.lane) {
    lane = x;
  }
  return out;
#endif
}

COPPICE_INLINE F32x16 zero() {
  return broadcast(0.0F);
}

COPPICE_INLINE F32x16 load(const float* p) {
#if defined(__AVX512F__)
  return {_mm512_loadu_ps(p)};
#elif defined(__AVX2__)
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
#else
  F32x16 out;
  std::memcpy(out.lane, p, sizeof out.lane);
  return out;
#endif
}

COPPICE_INLINE void store(float* p, F32x16 a) {
#if defined(__AVX512F__)
  _mm512_storeu_ps(p, a.v);
#elif defined(__AVX2__)
  _mm256_storeu_ps(p, a.low);
  _mm256_storeu_ps(p + 8, a.high);
#else
  std::memcpy(p, a.lane, sizeof a.lane);
#endif
}

// Loads the first `count` (0 … 16) lanes; the others are zero.
COPPICE_INLINE F32x16 load_first(const float* p, std::int64_t count) {
#if defined(__AVX512F__)
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << count) - 1U), p)};
#else
  float lanes[16] = {};
  std::memcpy(lanes, p, static_cast<std::size_t>(count) * sizeof(float));
  return load(lanes);
#endif
}

COPPICE_INLINE void store_first(float* p, F32x16 a, std::int64_t count) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1U << count) - 1U), a.v);
#else
  float lanes[16];
  store(lanes, a);
  std::memcpy(p, lanes, static_cast<std::size_t>(count) * sizeof(float));
#endif
}

// a * b + c: one rounding where the machine has it (AVX2 and up), two on generic.
COPPICE_INLINE F32x16 multiply_add(F32x16 a, F32x16 b, F32x16 c) {
#if defined(__AVX512F__)
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
#elif defined(__AVX2__)
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
#else
  return add(multiply(a, b), c);
#endif
}

#if defined(__AVX512F__)
#define COPPICE_LOW_HALF(a) _mm512_castps512_ps256((a).v)
#define COPPICE_HIGH_HALF(a) _mm512_extractf32x8_ps((a).v, 1)
#elif defined(__AVX2__)
#define COPPICE_LOW_HALF(a) (a).low
#define COPPICE_HIGH_HALF(a) (a).high
#endif

// Returns the sum of the lanes: ((i + (i+8)) + (i+4) …) by halves, the same tree on every instruction set.
COPPICE_INLINE float sum(F32x16 a) {
#if defined(__AVX2__)
  const __m256 eight = _mm256_add_ps(COPPICE_LOW_HALF(a), COPPICE_HIGH_HALF(a));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
#else
  for (int width = 8; width >= 1; width /= 2) {
    for (int i = 0; i < width; ++i) {
      a.lane[i] += a.lane[i + width];
    }
  }
  return a.lane[0];
#endif
}

// Returns the largest lane, compared in the order of sum(): of a pair with a NaN, the second.
COPPICE_INLINE float largest(F32x16 a) {
#if defined(__AVX2__)
  const __m256 eight = _mm256_max_ps(COPPICE_LOW_HALF(a), COPPICE_HIGH_HALF(a));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
#else
  for (int width = 8; width >= 1; width /= 2) {
    for (int i = 0; i < width; ++i) {
      a.lane[i] = a.lane[i] > a.lane[i + width] ? a.lane[i] : a.lane[i + width];
    }
  }
  return a.lane[0];
#endif
}

// a * 2^n for whole n in [-252, 254].
COPPICE_INLINE F32x16 scale_by_power(F32x16 a, F32x16 n) {
#if defined(__AVX512F__)
  return {_mm512_scalef_ps(a.v, n.v)};
#elif defined(__AVX2__)
  // Two factors, so that denormal results and infinity are right.
  const auto scaled = [](__m256 x, __m256 power) COPPICE_INLINE_LAMBDA {
    const __m256i whole = _mm256_cvtps_epi32(power);
    const __m256i half = _mm256_srai_epi32(whole, 1);
    const __m256i bias = _mm256_set1_epi32(127);
    const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(x, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
  };
  return {scaled(a.low, n.low), scaled(a.high, n.high)};
#else
  float lanes[16];
  float powers[16];
  store(lanes, a);
  store(powers, n);
  for (int i = 0; i < 16; ++i) {
    const std::int32_t whole = static_cast<std::int32_t>(powers[i]);
    const std::int32_t half = whole >> 1;
    lanes[i] = lanes[i] * __builtin_bit_cast(float, (half + 127) << 23) *
               __builtin_bit_cast(float, (whole - half + 127) << 23);
  }
  return load(lanes);
#endif
}

// Nearest whole number, ties to even; |a| < 2^22.
COPPICE_INLINE F32x16 round_to_whole(F32x16 a) {
#if defined(__AVX512F__)
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
#elif defined(__AVX2__)
  return {_mm256_round_ps(a.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(a.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
#else
  const F32x16 magic = broadcast(0x1.8p23F);
  return subtract(add(a, magic), magic);
#endif
}

// e^a, with an error of at most 2 units in the last place (tested); e^-inf = 0, e^inf = inf. REQUIRES: no lane is NaN
// (AVX-512 returns a NaN, other instruction sets an unspecified number). Cephes expf: a = n ln 2 + r, |r| <= ln 2 / 2,
// and a polynomial in r.
COPPICE_INLINE F32x16 exponential(F32x16 a) {
  a = minimum(broadcast(90.0F), maximum(broadcast(-105.0F), a));
  const F32x16 n = round_to_whole(multiply(a, broadcast(1.44269504088896341F)));
  F32x16 r = multiply_add(n, broadcast(-0.693359375F), a);
  r = multiply_add(n, broadcast(2.12194440e-4F), r);
  F32x16 p = broadcast(1.9875691500E-4F);
  p = multiply_add(p, r, broadcast(1.3981999507E-3F));
  p = multiply_add(p, r, broadcast(8.3334519073E-3F));
  p = multiply_add(p, r, broadcast(4.1665795894E-2F));
  p = multiply_add(p, r, broadcast(1.6666665459E-1F));
  p = multiply_add(p, r, broadcast(5.0000001201E-1F));
  p = multiply_add(p, multiply(r, r), r);
  return scale_by_power(add(p, broadcast(1.0F)), n);
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
