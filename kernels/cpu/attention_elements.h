// What a 32-bit word of the KV cache holds (kv_layout.h), and the one step that both products of attention are made of:
// accumulate word times word. A row's numbers (its query, its weights) stand as the instruction set multiplies them: in
// pairs of bf16 where it has a product of two pairs, else as f32, so that only keys and values are widened in the inner
// loop, once for all rows of a tile. For bodies only.
#pragma once

#include "kernels/cpu/attention_words.h"
#include "kernels/formats.h"
#include "kernels/host/simd_half.h"

namespace coppice::kernels::cpu::COPPICE_ISA {

// --- a row's numbers ---

// (Vector stores may alias; the plain one is a memcpy.)
COPPICE_INLINE void store_floats(std::uint32_t* words, F32x16 a) {
  store(reinterpret_cast<float*>(words), a);
}

// f32, one a unit of 32 bits.
struct FloatRow {
  COPPICE_INLINE F32x16 broadcast_unit(const std::uint32_t* unit) { return as_floats(broadcast_word(unit)); }
  COPPICE_INLINE F32x16 accumulate(F32x16 acc, F32x16 row, F32x16 key) { return multiply_add(row, key, acc); }
  // Returns whether queries of a type are units unchanged.
  static constexpr bool has_units(ComputeType query) { return query == ComputeType::kF32; }
  // Writes a query's numbers [dim, dim + 16) as units.
  COPPICE_INLINE void store_units(std::uint32_t* units, std::int64_t dim, F32x16 a) { store_floats(units + dim, a); }
  // Writes the weights of 32 keys.
  COPPICE_INLINE void store_weights(std::uint32_t* units, F32x16 first, F32x16 second) {
    store_floats(units, first);
    store_floats(units + kLanes, second);
  }
};

#if defined(__AVX512BF16__)
// Two bf16 numbers a unit.
struct PairRow {
  COPPICE_INLINE Words broadcast_unit(const std::uint32_t* unit) { return broadcast_word(unit); }
  // acc + row.first * key.first + row.second * key.second, lane by lane.
  COPPICE_INLINE F32x16 accumulate(F32x16 acc, Words row, Words key) {
    return {_mm512_dpbf16_ps(acc.v, (__m512bh)row.v, (__m512bh)key.v)};
  }
  static constexpr bool has_units(ComputeType query) { return query == ComputeType::kBF16; }
  // Rounds.
  COPPICE_INLINE void store_units(std::uint32_t* units, std::int64_t dim, F32x16 a) {
    store_bf16(reinterpret_cast<std::uint16_t*>(units) + dim, a);
  }
  // Rounds, and returns what it wrote.
  COPPICE_INLINE Words store_weights(std::uint32_t* units, F32x16 first, F32x16 second) {
    const __m512i packed = (__m512i)_mm512_cvtne2ps_pbh(second.v, first.v);
    _mm512_storeu_si512(units, packed);
    return {packed};
  }
};
#endif

// --- keys and values that have no scales ---

struct Unscaled {
  struct Scales {};
  COPPICE_INLINE Scales scales(const std::uint32_t* /*words*/) { return {}; }
  COPPICE_INLINE F32x16 scaled(F32x16 a, Scales /*scales*/) { return a; }
};

// One f32 a word.
struct F32Words : FloatRow, Unscaled {
  static constexpr std::int32_t kPerWord = 1;  // elements of a 4-byte word
  static constexpr int kParts = 1;             // vectors of 16 floats that a vector of words widens to
  template <int kPart>
  COPPICE_INLINE F32x16 part(Words keys) {
    return as_floats(keys);
  }
  // Writes the weights of 32 keys as units of a row and adds them to `sums`. scales: those of the first 16 values and
  // of the others.
  COPPICE_INLINE F32x16 pack(F32x16 sums, F32x16 first, F32x16 second, const Scales* /*scales*/, std::uint32_t* units) {
    store_weights(units, first, second);
    return add(add(sums, first), second);
  }
};

// Two bf16 numbers a word. Weights are summed as rounded.
#if defined(__AVX512BF16__)
struct Bf16Words : PairRow, Unscaled {
  static constexpr std::int32_t kPerWord = 2;  // elements of a 4-byte word
  static constexpr int kParts = 1;             // a row's units to a word of a key, and the products of one word
  template <int kPart>
  COPPICE_INLINE Words part(Words keys) {
    return keys;
  }
  COPPICE_INLINE F32x16 pack(F32x16 sums, F32x16 first, F32x16 second, const Scales* /*scales*/, std::uint32_t* units) {
    const Words ones = {_mm512_set1_epi32(0x3F803F80)};  // in bf16
    return accumulate(sums, store_weights(units, first, second), ones);
  }
};
#else
struct Bf16Words : FloatRow, Unscaled {
  static constexpr std::int32_t kPerWord = 2;  // elements of a 4-byte word
  static constexpr int kParts = 2;             // vectors of 16 floats that a vector of words widens to
  template <int kPart>
  COPPICE_INLINE F32x16 part(Words keys) {
    return kPart == 0 ? low_halves(keys) : high_halves(keys);
  }
  COPPICE_INLINE F32x16 pack(F32x16 sums, F32x16 first, F32x16 second, const Scales* /*scales*/, std::uint32_t* units) {
    first = round_to_eight_bits(first);
    second = round_to_eight_bits(second);
    store_weights(units, first, second);
    return add(add(sums, first), second);
  }
  static constexpr bool has_units(ComputeType /*query*/) { return false; }
  COPPICE_INLINE void store_units(std::uint32_t* units, std::int64_t dim, F32x16 a) {
    std::uint16_t rounded[kLanes];
    store_bf16(rounded, a);
    store_floats(units + dim, load_bf16(rounded));
  }
};
#endif

// --- keys and values with scales ---

// Four whole numbers of 8 bits a word: exact in f32 and in bf16. A key's scale joins its score, a value's its weight,
// once for all dimensions; the sum of weights is of those without scales.
#if defined(__AVX512BF16__)
struct Int8Words : PairRow {
  static constexpr int kParts = 2;  // a row's units to a word of a key, and the products of one word
  template <int kPart>
  COPPICE_INLINE Words part(Words keys) {
    return signed_byte_pairs<kPart>(keys);
  }
#else
struct Int8Words : FloatRow {
  static constexpr int kParts = 4;  // vectors of 16 floats that a vector of words widens to
  template <int kPart>
  COPPICE_INLINE F32x16 part(Words keys) {
    return signed_bytes<kPart>(keys);
  }
#endif
  static constexpr std::int32_t kPerWord = 4;  // elements of a 4-byte word
  COPPICE_INLINE F32x16 scales(const std::uint32_t* words) {
    return as_floats(load_words(words));
  }
  COPPICE_INLINE F32x16 scaled(F32x16 a, F32x16 scales) {
    return multiply(a, scales);
  }
  COPPICE_INLINE F32x16 pack(F32x16 sums, F32x16 first, F32x16 second, const F32x16* scales, std::uint32_t* units) {
    store_weights(units, multiply(first, scales[0]), multiply(second, scales[1]));
    return add(add(sums, first), second);
  }
};

}  // namespace coppice::kernels::cpu::COPPICE_ISA
