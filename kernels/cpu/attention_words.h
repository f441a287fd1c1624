// Sixteen 32-bit words of the KV cache in a vector, and the one step that both products of attention are made of:
// accumulate word times word, where a word is two bf16 numbers or one f32 (kv_layout.h). For bodies only.
#pragma once

#include "kernels/cpu/simd.h"
#include "kernels/cpu/simd_half.h"
#include "kernels/formats.h"

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

// Through memcpy: queries were written as numbers of their own type.
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

// (Vector stores may alias; the plain one is a memcpy.)
COPPICE_INLINE void store_floats(std::uint32_t* words, F32x16 a) {
  store(reinterpret_cast<float*>(words), a);
}

// The nearest number of eight significant bits, so of bf16's (Veltkamp's splitting); a NaN stays one. |a| < 2^111.
COPPICE_INLINE F32x16 round_to_eight_bits(F32x16 a) {
  const F32x16 larger = multiply(a, broadcast(0x1.0p16F + 1.0F));
  return add(larger, subtract(a, larger));
}

// Two bf16 numbers a word. A row's numbers (its query, its weights) stand as the instruction set multiplies them: in
// words like the keys' where it has a product of two pairs, else as f32, so that only keys and values are widened in
// the inner loop, once for all rows of a tile.
struct Bf16Words {
  static constexpr std::int32_t kPerWord = 2;  // elements of a 4-byte word

#if defined(__AVX512BF16__)
  static constexpr int kParts = 1;  // a row's 32-bit units to a word of a key, and the products of one word
  template <int kPart>
  static inline __attribute__((always_inline)) Words part(Words keys) {
    return keys;
  }
  static inline __attribute__((always_inline)) Words broadcast_unit(const std::uint32_t* unit) {
    return broadcast_word(unit);
  }
  // acc + row.first * key.first + row.second * key.second, lane by lane.
  static inline __attribute__((always_inline)) F32x16 accumulate(F32x16 acc, Words row, Words key) {
    return {_mm512_dpbf16_ps(acc.v, (__m512bh)row.v, (__m512bh)key.v)};
  }
  // Rounds the weights of 32 keys, adds the rounded weights to `sums` and leaves them as units of a row.
  static inline __attribute__((always_inline)) F32x16 pack(F32x16 sums, F32x16 first, F32x16 second,
                                                           std::uint32_t* units) {
    const __m512bh packed = _mm512_cvtne2ps_pbh(second.v, first.v);
    _mm512_storeu_si512(units, (__m512i)packed);
    return {_mm512_dpbf16_ps(sums.v, packed, (__m512bh)_mm512_set1_epi32(0x3F803F80))};
  }
  // Whether queries of a type are units as they are.
  static constexpr bool has_units(ComputeType query) {
    return query == ComputeType::kBF16;
  }
  // A query's numbers [dim, dim + 16) as units, rounded.
  static inline __attribute__((always_inline)) void store_units(std::uint32_t* units, std::int64_t dim, F32x16 a) {
    store_bf16(reinterpret_cast<std::uint16_t*>(units) + dim, a);
  }
#else
  static constexpr int kParts = 2;  // vectors of 16 floats that a vector of words widens to
  template <int kPart>
  static inline __attribute__((always_inline)) F32x16 part(Words keys) {
    return kPart == 0 ? low_halves(keys) : high_halves(keys);
  }
  static inline __attribute__((always_inline)) F32x16 broadcast_unit(const std::uint32_t* unit) {
    return as_floats(broadcast_word(unit));
  }
  static inline __attribute__((always_inline)) F32x16 accumulate(F32x16 acc, F32x16 row, F32x16 key) {
    return multiply_add(row, key, acc);
  }
  static inline __attribute__((always_inline)) F32x16 pack(F32x16 sums, F32x16 first, F32x16 second,
                                                           std::uint32_t* units) {
    first = round_to_eight_bits(first);
    second = round_to_eight_bits(second);
    store_floats(units, first);
    store_floats(units + kLanes, second);
    return add(add(sums, first), second);
  }
  static constexpr bool has_units(ComputeType /*query*/) {
    return false;
  }
  static inline __attribute__((always_inline)) void store_units(std::uint32_t* units, std::int64_t dim, F32x16 a) {
    std::uint16_t rounded[kLanes];
    store_bf16(rounded, a);
    store_floats(units + dim, load_bf16(rounded));
  }
#endif
};

// One f32 a word.
struct F32Words {
  static constexpr std::int32_t kPerWord = 1;  // elements of a 4-byte word
  static constexpr int kParts = 1;             // vectors of 16 floats that a vector of words widens to

  template <int kPart>
  static inline __attribute__((always_inline)) F32x16 part(Words keys) {
    return as_floats(keys);
  }
  static inline __attribute__((always_inline)) F32x16 broadcast_unit(const std::uint32_t* unit) {
    return as_floats(broadcast_word(unit));
  }
  static inline __attribute__((always_inline)) F32x16 accumulate(F32x16 acc, F32x16 row, F32x16 key) {
    return multiply_add(row, key, acc);
  }
  static inline __attribute__((always_inline)) F32x16 pack(F32x16 sums, F32x16 first, F32x16 second,
                                                           std::uint32_t* units) {
    store_floats(units, first);
    store_floats(units + kLanes, second);
    return add(add(sums, first), second);
  }
  static constexpr bool has_units(ComputeType query) { return query == ComputeType::kF32; }
  static inline __attribute__((always_inline)) void store_units(std::uint32_t* units, std::int64_t dim, F32x16 a) {
    store_floats(units + dim, a);
  }
};

}  // namespace coppice::kernels::cpu::COPPICE_ISA
