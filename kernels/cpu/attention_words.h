// Sixteen 32-bit words of the KV cache in a vector, and the one step that both products of attention are made of:
// accumulate word times word, where a word is two bf16 numbers or one f32 (kv_layout.h). For bodies only.
#pragma once

#include "kernels/formats.h"
#include "kernels/host/simd.h"
#include "kernels/host/simd_half.h"

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

// (Vector stores may alias; the plain one is a memcpy.)
COPPICE_INLINE void store_floats(std::uint32_t* words, F32x16 a) {
  store(reinterpret_cast<float*>(words), a);
}

// Rounds to eight significant bits, those of bf16 (Veltkamp's splitting); a NaN stays NaN. REQUIRES: |a| < 2^111.
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
  COPPICE_INLINE Words part(Words keys) {
    return keys;
  }
  COPPICE_INLINE Words broadcast_unit(const std::uint32_t* unit) {
    return broadcast_word(unit);
  }
  // acc + row.first * key.first + row.second * key.second, lane by lane.
  COPPICE_INLINE F32x16 accumulate(F32x16 acc, Words row, Words key) {
    return {_mm512_dpbf16_ps(acc.v, (__m512bh)row.v, (__m512bh)key.v)};
  }
  // Rounds the weights of 32 keys, adds the rounded weights to `sums` and writes them as units of a row.
  COPPICE_INLINE F32x16 pack(F32x16 sums, F32x16 first, F32x16 second, std::uint32_t* units) {
    const __m512bh packed = _mm512_cvtne2ps_pbh(second.v, first.v);
    _mm512_storeu_si512(units, (__m512i)packed);
    return {_mm512_dpbf16_ps(sums.v, packed, (__m512bh)_mm512_set1_epi32(0x3F803F80))};
  }
  // Returns whether queries of a type are units unchanged.
  static constexpr bool has_units(ComputeType query) {
    return query == ComputeType::kBF16;
  }
  // Writes a query's numbers [dim, dim + 16) as units, rounded.
  COPPICE_INLINE void store_units(std::uint32_t* units, std::int64_t dim, F32x16 a) {
    store_bf16(reinterpret_cast<std::uint16_t*>(units) + dim, a);
  }
#else
  static constexpr int kParts = 2;  // vectors of 16 floats that a vector of words widens to
  template <int kPart>
  COPPICE_INLINE F32x16 part(Words keys) {
    return kPart == 0 ? low_halves(keys) : high_halves(keys);
  }
  COPPICE_INLINE F32x16 broadcast_unit(const std::uint32_t* unit) {
    return as_floats(broadcast_word(unit));
  }
  COPPICE_INLINE F32x16 accumulate(F32x16 acc, F32x16 row, F32x16 key) {
    return multiply_add(row, key, acc);
  }
  COPPICE_INLINE F32x16 pack(F32x16 sums, F32x16 first, F32x16 second, std::uint32_t* units) {
    first = round_to_eight_bits(first);
    second = round_to_eight_bits(second);
    store_floats(units, first);
    store_floats(units + kLanes, second);
    return add(add(sums, first), second);
  }
  static constexpr bool has_units(ComputeType /*query*/) {
    return false;
  }
  COPPICE_INLINE void store_units(std::uint32_t* units, std::int64_t dim, F32x16 a) {
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
  COPPICE_INLINE F32x16 part(Words keys) {
    return as_floats(keys);
  }
  COPPICE_INLINE F32x16 broadcast_unit(const std::uint32_t* unit) { return as_floats(broadcast_word(unit)); }
  COPPICE_INLINE F32x16 accumulate(F32x16 acc, F32x16 row, F32x16 key) { return multiply_add(row, key, acc); }
  COPPICE_INLINE F32x16 pack(F32x16 sums, F32x16 first, F32x16 second, std::uint32_t* units) {
    store_floats(units, first);
    store_floats(units + kLanes, second);
    return add(add(sums, first), second);
  }
  static constexpr bool has_units(ComputeType query) { return query == ComputeType::kF32; }
  COPPICE_INLINE void store_units(std::uint32_t* units, std::int64_t dim, F32x16 a) { store_floats(units + dim, a); }
};

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
