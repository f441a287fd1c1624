// Loads and stores of the two half-width floats, bfloat16 and IEEE half, as sixteen float lanes (simd.h). For bodies
// only. Rounding is to nearest, ties to even, on every instruction set; a NaN stays a NaN.
#pragma once

#include "kernels/formats.h"
#include "kernels/host/simd.h"

namespace coppice::kernels::cpu::COPPICE_ISA {

COPPICE_INLINE float bf16_to_f32(std::uint16_t bits) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16);
}

COPPICE_INLINE std::uint16_t f32_to_bf16(float x) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x);
  if (x != x) {
    return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  }
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

COPPICE_INLINE F32x16 load_bf16(const std::uint16_t* p) {
#if defined(__AVX512F__)
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
#elif defined(__AVX2__)
  const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(low), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(high), 16))};
#else
  F32x16 out;
  for (int i = 0; i < 16; ++i) {
    out.lane[i] = bf16_to_f32(p[i]);
  }
  return out;
#endif
}

COPPICE_INLINE F32x16 load_bf16_first(const std::uint16_t* p, std::int64_t count) {
  std::uint16_t lanes[16] = {};
  std::memcpy(lanes, p, static_cast<std::size_t>(count) * sizeof(std::uint16_t));
  return load_bf16(lanes);
}

#if defined(__AVX2__) && !defined(__AVX512F__)
// Returns the rounded bf16 number in the upper half of every word; the lower half is unspecified.
COPPICE_INLINE __m256i bf16_in_upper_half(__m256 a) {
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(rounded, quiet, nan);
}
#endif

COPPICE_INLINE void store_bf16(std::uint16_t* p, F32x16 a) {
#if defined(__AVX512F__)
  // Not VCVTNEPS2BF16: that one flushes denormals, and a result must not depend on AVX-512-BF16 being there.
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  const __m512i result = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(result, 16)));
#elif defined(__AVX2__)
  const __m256i low = _mm256_srli_epi32(bf16_in_upper_half(a.low), 16);
  const __m256i high = _mm256_srli_epi32(bf16_in_upper_half(a.high), 16);
  // Packing works on register halves: the two middle quarters must be swapped.
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xD8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), packed);
#else
  float lanes[16];
  store(lanes, a);
  for (int i = 0; i < 16; ++i) {
    p[i] = f32_to_bf16(lanes[i]);
  }
#endif
}

COPPICE_INLINE void store_bf16_first(std::uint16_t* p, F32x16 a, std::int64_t count) {
  std::uint16_t lanes[16];
  store_bf16(lanes, a);
  std::memcpy(p, lanes, static_cast<std::size_t>(count) * sizeof(std::uint16_t));
}

COPPICE_INLINE float f16_to_f32(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t magnitude = half & 0x7FFFU;
  if (magnitude >= 0x7C00U) {  // infinity, NaN
    return __builtin_bit_cast(float, sign | 0x7F800000U | (magnitude & 0x3FFU) << 13);
  }
  // Exponent and mantissa moved into place, then scaled by 2^112: exact, denormals included.
  const float value = __builtin_bit_cast(float, magnitude << 13) * 0x1.0p112F;
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, value) | sign);
}

COPPICE_INLINE F32x16 load_f16(const std::uint16_t* p) {
#if defined(__AVX512F__)
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
#elif defined(__AVX2__)
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
#else
  F32x16 out;
  for (int i = 0; i < 16; ++i) {
    out.lane[i] = f16_to_f32(p[i]);
  }
  return out;
#endif
}

COPPICE_INLINE F32x16 load_f16_first(const std::uint16_t* p, std::int64_t count) {
  std::uint16_t lanes[16] = {};
  std::memcpy(lanes, p, static_cast<std::size_t>(count) * sizeof(std::uint16_t));
  return load_f16(lanes);
}

// --- rows of any compute type ---

// Calls step(i, count) for the row's vectors of sixteen numbers, then for the rest. Two calls, so that the compiler
// builds the common one without the tail's detours.
template <typename Step>
COPPICE_INLINE void for_vectors(std::int64_t total, const Step& step) {
  std::int64_t i = 0;
  for (; i + kLanes <= total; i += kLanes) {
    step(i, kLanes);
  }
  if (i < total) {
    step(i, total - i);
  }
}

// Numbers [i, i + count) of a row, count at most kLanes; the other lanes are zero.
COPPICE_INLINE F32x16 load_any(const void* row, ComputeType type, std::int64_t i, std::int64_t count) {
  const auto* floats = static_cast<const float*>(row) + i;
  const auto* halves = static_cast<const std::uint16_t*>(row) + i;
  switch (type) {
    case ComputeType::kF32:
      return count >= kLanes ? load(floats) : load_first(floats, count);
    case ComputeType::kBF16:
      return count >= kLanes ? load_bf16(halves) : load_bf16_first(halves, count);
    case ComputeType::kF16:
      return count >= kLanes ? load_f16(halves) : load_f16_first(halves, count);
  }
  __builtin_unreachable();
}

// Writes numbers [i, i + count) of a row, count at most kLanes. REQUIRES: not f16, which the CPU does not compute in.
COPPICE_INLINE void store_any(void* row, ComputeType type, std::int64_t i, std::int64_t count, F32x16 value) {
  auto* floats = static_cast<float*>(row) + i;
  auto* halves = static_cast<std::uint16_t*>(row) + i;
  switch (type) {
    case ComputeType::kF32:
      return count >= kLanes ? store(floats, value) : store_first(floats, value, count);
    case ComputeType::kBF16:
      return count >= kLanes ? store_bf16(halves, value) : store_bf16_first(halves, value, count);
    case ComputeType::kF16:
      __builtin_trap();
  }
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
