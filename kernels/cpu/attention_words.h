// Sixteen 32-bit words of the KV cache in a vector, and the one step that both products of attention are made of:
// accumulate word times word, where a word is two bf16 numbers or one f32 (kv_layout.h). For bodies only.
#pragma once

#include "kernels/cpu/simd.h"
#include "kernels/cpu/simd_half.h"

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

COPPICE_INLINE Words broadcast_word(const std::uint8_t* p) {
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

// Lanes [begin, end) of `a`, -infinity in the others.
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

// Two bf16 numbers a word.
struct Bf16Words {
  static constexpr std::int32_t kPerWord = 2;

  // acc + a.first * b.first + a.second * b.second, lane by lane, in the instruction set's own fixed order.
  static inline __attribute__((always_inline)) F32x16 accumulate(F32x16 acc, Words a, Words b) {
#if defined(__AVX512BF16__)
    return {_mm512_dpbf16_ps(acc.v, (__m512bh)a.v, (__m512bh)b.v)};
#else
    return multiply_add(high_halves(a), high_halves(b), multiply_add(low_halves(a), low_halves(b), acc));
#endif
  }

  // Rounds the weights of 32 keys to words[0 … 15] and adds the rounded weights to `sums`.
  static inline __attribute__((always_inline)) F32x16 pack(F32x16 sums, F32x16 first, F32x16 second,
                                                           std::uint32_t* words) {
#if defined(__AVX512BF16__)
    const __m512bh packed = _mm512_cvtne2ps_pbh(second.v, first.v);
    _mm512_storeu_si512(words, (__m512i)packed);
    return {_mm512_dpbf16_ps(sums.v, packed, (__m512bh)_mm512_set1_epi32(0x3F803F80))};
#else
    std::uint16_t* halves = reinterpret_cast<std::uint16_t*>(words);
    store_bf16(halves, first);
    store_bf16(halves + 16, second);
    return add(add(sums, load_bf16(halves)), load_bf16(halves + 16));
#endif
  }
};

// One f32 a word.
struct F32Words {
  static constexpr std::int32_t kPerWord = 1;

  static inline __attribute__((always_inline)) F32x16 accumulate(F32x16 acc, Words a, Words b) {
    return multiply_add(as_floats(a), as_floats(b), acc);
  }

  static inline __attribute__((always_inline)) F32x16 pack(F32x16 sums, F32x16 first, F32x16 second,
                                                           std::uint32_t* words) {
    float lanes[32];
    store(lanes, first);
    store(lanes + 16, second);
    std::memcpy(words, lanes, sizeof lanes);
    return add(add(sums, first), second);
  }
};

}  // namespace coppice::kernels::cpu::COPPICE_ISA
