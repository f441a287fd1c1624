// Philox4x32-10 (base/random.h) with sixteen counters side by side. For bodies only: they may not share the inline
// function of base/random.h (isa.h says why), so this is the same generator again, tested against it.
#pragma once

#include "kernels/cpu/simd.h"

namespace coppice::kernels::cpu::COPPICE_ISA {

struct U32x16 {
#if defined(__AVX512F__)
  __m512i v;
#elif defined(__AVX2__)
  __m256i low, high;
#else
  std::uint32_t lane[16];
#endif
};

COPPICE_INLINE U32x16 load_u32(const std::uint32_t* p) {
  U32x16 out;
  std::memcpy(&out, p, sizeof out);
  return out;
}

COPPICE_INLINE void store_u32(std::uint32_t* p, U32x16 a) {
  std::memcpy(p, &a, sizeof a);
}

COPPICE_INLINE U32x16 broadcast_u32(std::uint32_t x) {
  std::uint32_t lanes[16];
  for (std::uint32_t& lane : lanes) {
    lane = x;
  }
  return load_u32(lanes);
}

// a ^ b ^ c.
COPPICE_INLINE U32x16 exclusive_or(U32x16 a, U32x16 b, U32x16 c) {
#if defined(__AVX512F__)
  return {_mm512_xor_si512(_mm512_xor_si512(a.v, b.v), c.v)};
#elif defined(__AVX2__)
  return {_mm256_xor_si256(_mm256_xor_si256(a.low, b.low), c.low),
          _mm256_xor_si256(_mm256_xor_si256(a.high, b.high), c.high)};
#else
  for (int i = 0; i < 16; ++i) {
    a.lane[i] ^= b.lane[i] ^ c.lane[i];
  }
  return a;
#endif
}

#if defined(__AVX2__) && !defined(__AVX512F__)
COPPICE_INLINE void multiply_wide_half(__m256i a, __m256i factor, __m256i& upper, __m256i& lower) {
  const __m256i even = _mm256_mul_epu32(a, factor);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), factor);
  lower = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  upper = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
}
#endif

// The 64-bit products of a and one factor, as their upper and lower words.
COPPICE_INLINE void multiply_wide(U32x16 a, std::uint32_t factor, U32x16& upper, U32x16& lower) {
#if defined(__AVX512F__)
  const __m512i factors = _mm512_set1_epi32(static_cast<std::int32_t>(factor));
  const __m512i even = _mm512_mul_epu32(a.v, factors);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a.v, 32), factors);
  lower.v = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
  upper.v = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
#elif defined(__AVX2__)
  const __m256i factors = _mm256_set1_epi32(static_cast<std::int32_t>(factor));
  multiply_wide_half(a.low, factors, upper.low, lower.low);
  multiply_wide_half(a.high, factors, upper.high, lower.high);
#else
  for (int i = 0; i < 16; ++i) {
    const std::uint64_t product = std::uint64_t{factor} * a.lane[i];
    upper.lane[i] = static_cast<std::uint32_t>(product >> 32);
    lower.lane[i] = static_cast<std::uint32_t>(product);
  }
#endif
}

// words[k] lane i = word k of base::philox4x32(seed, position, stream + i); stream + 15 must not carry into its upper
// half.
COPPICE_INLINE void philox(std::uint64_t seed, std::uint64_t position, std::uint64_t stream, U32x16* words) {
  std::uint32_t counters[16];
  for (std::uint32_t i = 0; i < 16; ++i) {
    counters[i] = static_cast<std::uint32_t>(stream) + i;
  }
  U32x16 c0 = broadcast_u32(static_cast<std::uint32_t>(position));
  U32x16 c1 = broadcast_u32(static_cast<std::uint32_t>(position >> 32));
  U32x16 c2 = load_u32(counters);
  U32x16 c3 = broadcast_u32(static_cast<std::uint32_t>(stream >> 32));
  std::uint32_t key0 = static_cast<std::uint32_t>(seed);
  std::uint32_t key1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    U32x16 upper0, lower0, upper1, lower1;
    multiply_wide(c0, 0xD2511F53U, upper0, lower0);
    multiply_wide(c2, 0xCD9E8D57U, upper1, lower1);
    c0 = exclusive_or(upper1, c1, broadcast_u32(key0));
    c2 = exclusive_or(upper0, c3, broadcast_u32(key1));
    c1 = lower1;
    c3 = lower0;
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
