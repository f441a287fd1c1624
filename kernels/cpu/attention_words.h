// Sixteen 32-bit words of the KV cache in a vector, what is in them as floats, and powers of two. For bodies only.
#pragma once

#include "kernels/host/simd.h"

namespace coppice::kernels::cpu::COPPICE_ISA {

struct Words {
#if defined(__AVX512F__)
  __m512i v;
#elif defined(__AVX2__)
  __m256i low, high;
#else
  std::uint32_t lane[16];
#endif
};

COPPICE_INLINE Words load_words(const std::uint32_t* p) {
#if defined(__AVX512F__)
  return {_mm512_loadu_si512(p)};
#elif defined(__AVX2__)
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
#else
  Words out;
  std::memcpy(out.lane, p, sizeof out.lane);
  return out;
#endif
}

// By memcpy: queries were written as numbers of their own type.
COPPICE_INLINE Words broadcast_word(const std::uint32_t* p) {
  std::int32_t word;
  std::memcpy(&word, p, sizeof word);
#if defined(__AVX512F__)
  return {_mm512_set1_epi32(word)};
#elif defined(__AVX2__)
  return {_mm256_set1_epi32(word), _mm256_set1_epi32(word)};
#else
  Words out;
  for (std::uint32_t& lane : out.lane) {
    lane = static_cast<std::uint32_t>(word);
  }
  return out;
#endif
}

// The words as f32.
COPPICE_INLINE F32x16 as_floats(Words a) {
#if defined(__AVX512F__)
  return {_mm512_castsi512_ps(a.v)};
#elif defined(__AVX2__)
  return {_mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high)};
#else
  return __builtin_bit_cast(F32x16, a);
#endif
}

// The first (low) and second (high) bf16 number of every word as f32.
COPPICE_INLINE F32x16 low_halves(Words a) {
#if defined(__AVX512F__)
  return as_floats({_mm512_slli_epi32(a.v, 16)});
#elif defined(__AVX2__)
  return as_floats({_mm256_slli_epi32(a.low, 16), _mm256_slli_epi32(a.high, 16)});
#else
  for (std::uint32_t& lane : a.lane) {
    lane <<= 16;
  }
  return as_floats(a);
#endif
}

COPPICE_INLINE F32x16 high_halves(Words a) {
#if defined(__AVX512F__)
  return as_floats({_mm512_and_si512(a.v, _mm512_set1_epi32(-65536))});
#elif defined(__AVX2__)
  const __m256i mask = _mm256_set1_epi32(-65536);
  return as_floats({_mm256_and_si256(a.low, mask), _mm256_and_si256(a.high, mask)});
#else
  for (std::uint32_t& lane : a.lane) {
    lane &= 0xFFFF0000U;
  }
  return as_floats(a);
#endif
}

// Returns lanes [begin, end) of `a`, -infinity in the others.
COPPICE_INLINE F32x16 keep_lanes(F32x16 a, std::int32_t begin, std::int32_t end) {
#if defined(__AVX512F__)
  const std::uint32_t mask = ((1U << end) - 1U) & ~((1U << begin) - 1U);
  return {_mm512_mask_blend_ps(static_cast<__mmask16>(mask), broadcast(-__builtin_inff()).v, a.v)};
#else
  float lanes[16];
  store(lanes, a);
  for (std::int32_t i = 0; i < 16; ++i) {
    lanes[i] = i >= begin && i < end ? lanes[i] : -__builtin_inff();
  }
  return load(lanes);
#endif
}

// Byte kByte of every word, a signed whole number, as f32.
template <int kByte>
COPPICE_INLINE F32x16 signed_bytes(Words a) {
  constexpr int kUp = 24 - 8 * kByte;  // bits to the top of the word
#if defined(__AVX512F__)
  return {_mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(a.v, kUp), 24))};
#elif defined(__AVX2__)
  return {_mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(a.low, kUp), 24)),
          _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(a.high, kUp), 24))};
#else
  F32x16 out;
  for (int i = 0; i < 16; ++i) {
    out.lane[i] = static_cast<float>(static_cast<std::int32_t>(a.lane[i] << kUp) >> 24);
  }
  return out;
#endif
}

#if defined(__AVX512BF16__)
// Bytes (2 kPair, 2 kPair + 1) of every word, signed whole numbers, as two bf16. A byte with its sign turned becomes
// the last bits of a float whose last bit counts 1; what that float has too much is subtracted. A whole number of 8
// bits fills at most the upper half of its float.
template <int kPair>
COPPICE_INLINE Words signed_byte_pairs(Words a) {
  const __m512i pair = kPair == 0 ? a.v : _mm512_srli_epi32(a.v, 16);
  const __m512i low = _mm512_xor_si512(_mm512_and_si512(pair, _mm512_set1_epi32(0xFF)), _mm512_set1_epi32(0x4B000080));
  const __m512i high =
      _mm512_xor_si512(_mm512_and_si512(pair, _mm512_set1_epi32(0xFF00)), _mm512_set1_epi32(0x47008000));
  const __m512 first = _mm512_sub_ps(_mm512_castsi512_ps(low), _mm512_set1_ps(0x1.0p23F + 128.0F));
  const __m512 second = _mm512_sub_ps(_mm512_castsi512_ps(high), _mm512_set1_ps(0x1.0p15F + 128.0F));
  return {_mm512_or_si512(_mm512_castps_si512(second), _mm512_srli_epi32(_mm512_castps_si512(first), 16))};
}
#endif

// Rounds to eight significant bits, those of bf16 (Veltkamp's splitting); a NaN stays NaN. REQUIRES: |a| < 2^111.
COPPICE_INLINE F32x16 round_to_eight_bits(F32x16 a) {
  const F32x16 larger = multiply(a, broadcast(0x1.0p16F + 1.0F));
  return add(larger, subtract(a, larger));
}

// --- powers of two, for weights ---

// 2^(low bits of y), for y = 1.5 * 2^23 + n in float and whole n in [-127, 0]; 2^-127 counts as 0.
COPPICE_INLINE F32x16 power_of_rounded(F32x16 y) {
#if defined(__AVX512F__)
  const __m512i one = _mm512_set1_epi32(0x3F800000);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_slli_epi32(_mm512_castps_si512(y.v), 23), one))};
#elif defined(__AVX2__)
  const __m256i one = _mm256_set1_epi32(0x3F800000);
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(y.low), 23), one)),
          _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(y.high), 23), one))};
#else
  for (float& lane : y.lane) {
    lane = __builtin_bit_cast(float, (__builtin_bit_cast(std::uint32_t, lane) << 23) + 0x3F800000U);
  }
  return y;
#endif
}

// 2^a for a <= 0, relative error at most 5e-7; 2^0 = 1 and 2^-inf = 0 exactly, below 2^-126.5 it is 0; a NaN gives a
// NaN. a = n + r, |r| <= 1/2, and 1 + a polynomial in r (its greatest relative error made least by Remez exchange).
COPPICE_INLINE F32x16 power_of_two(F32x16 a) {
  a = maximum(broadcast(-127.0F), a);
  const F32x16 magic = broadcast(0x1.8p23F);
  const F32x16 rounded = add(a, magic);
  const F32x16 r = subtract(a, subtract(rounded, magic));
  F32x16 p = broadcast(0x1.23a608p-10F);
  p = multiply_add(p, r, broadcast(0x1.3cbea8p-7F));
  p = multiply_add(p, r, broadcast(0x1.c74322p-5F));
  p = multiply_add(p, r, broadcast(0x1.ebfa4ep-3F));
  p = multiply_add(p, r, broadcast(0x1.62e39ep-1F));
  p = multiply_add(p, r, broadcast(1.0F));
  return multiply(p, power_of_rounded(rounded));
}

// For softmax_merge(), where one of two exponents is 0.
COPPICE_INLINE float scalar_power_of_two(float a) {
  if (a == 0.0F) {
    return 1.0F;
  }
  float lanes[16];
  store(lanes, power_of_two(broadcast(a)));
  return lanes[0];
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
