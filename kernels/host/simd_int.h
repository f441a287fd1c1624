// Sixteen lanes of 32-bit whole numbers and sums of products of bytes on every instruction set (simd.h). For bodies
// only. Everything here is exact, so every instruction set gives the same numbers.
#pragma once

#include "kernels/host/simd.h"

namespace coppice::kernels::cpu::COPPICE_ISA {

struct I32x16 {
#if defined(__AVX512F__)
  __m512i v;
#elif defined(__AVX2__)
  __m256i low, high;
#else
  std::int32_t lane[16];
#endif
};

COPPICE_INLINE I32x16 load_words_i32(const void* p) {
#if defined(__AVX512F__)
  return {_mm512_loadu_si512(p)};
#elif defined(__AVX2__)
  const auto* halves = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
#else
  I32x16 out;
  std::memcpy(out.lane, p, sizeof out.lane);
  return out;
#endif
}

COPPICE_INLINE I32x16 broadcast_i32(std::int32_t x) {
#if defined(__AVX512F__)
  return {_mm512_set1_epi32(x)};
#elif defined(__AVX2__)
  return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
#else
  I32x16 out;
  for (std::int32_t& lane : out.lane) {
    lane = x;
  }
  return out;
#endif
}

// Logical shifts of whole words.
template <int kBits>
COPPICE_INLINE I32x16 shift_right(I32x16 a) {
#if defined(__AVX512F__)
  return {_mm512_srli_epi32(a.v, kBits)};
#elif defined(__AVX2__)
  return {_mm256_srli_epi32(a.low, kBits), _mm256_srli_epi32(a.high, kBits)};
#else
  for (std::int32_t& lane : a.lane) {
    lane = static_cast<std::int32_t>(static_cast<std::uint32_t>(lane) >> kBits);
  }
  return a;
#endif
}

template <int kBits>
COPPICE_INLINE I32x16 shift_left(I32x16 a) {
#if defined(__AVX512F__)
  return {_mm512_slli_epi32(a.v, kBits)};
#elif defined(__AVX2__)
  return {_mm256_slli_epi32(a.low, kBits), _mm256_slli_epi32(a.high, kBits)};
#else
  for (std::int32_t& lane : a.lane) {
    lane = static_cast<std::int32_t>(static_cast<std::uint32_t>(lane) << kBits);
  }
  return a;
#endif
}

COPPICE_INLINE I32x16 bit_and(I32x16 a, I32x16 b) {
#if defined(__AVX512F__)
  return {_mm512_and_si512(a.v, b.v)};
#elif defined(__AVX2__)
  return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
#else
  for (int i = 0; i < 16; ++i) {
    a.lane[i] &= b.lane[i];
  }
  return a;
#endif
}

COPPICE_INLINE I32x16 bit_or(I32x16 a, I32x16 b) {
#if defined(__AVX512F__)
  return {_mm512_or_si512(a.v, b.v)};
#elif defined(__AVX2__)
  return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
#else
  for (int i = 0; i < 16; ++i) {
    a.lane[i] |= b.lane[i];
  }
  return a;
#endif
}

COPPICE_INLINE F32x16 to_floats(I32x16 a) {
#if defined(__AVX512F__)
  return {_mm512_cvtepi32_ps(a.v)};
#elif defined(__AVX2__)
  return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)};
#else
  F32x16 out;
  for (int i = 0; i < 16; ++i) {
    out.lane[i] = static_cast<float>(a.lane[i]);
  }
  return out;
#endif
}

// Sixteen bytes as floats.
COPPICE_INLINE F32x16 load_unsigned_bytes(const void* p) {
#if defined(__AVX512F__)
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))))};
#elif defined(__AVX2__)
  const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))};
#else
  F32x16 out;
  for (int i = 0; i < 16; ++i) {
    out.lane[i] = static_cast<const std::uint8_t*>(p)[i];
  }
  return out;
#endif
}

COPPICE_INLINE F32x16 load_signed_bytes(const void* p) {
#if defined(__AVX512F__)
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))))};
#elif defined(__AVX2__)
  const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
#else
  F32x16 out;
  for (int i = 0; i < 16; ++i) {
    out.lane[i] = static_cast<const std::int8_t*>(p)[i];
  }
  return out;
#endif
}

// Writes sixteen bytes. REQUIRES: every lane is a whole number in [-128, 127].
COPPICE_INLINE void store_signed_bytes(std::int8_t* p, F32x16 a) {
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
#elif defined(__AVX2__)
  // Packing works inside the halves of a vector, so words 0-3, 8-11, 4-7, 12-15 follow one another.
  const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high));
  const __m256i ordered = _mm256_permute4x64_epi64(words, _MM_SHUFFLE(3, 1, 2, 0));
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
#else
  for (int i = 0; i < 16; ++i) {
    p[i] = static_cast<std::int8_t>(a.lane[i]);
  }
#endif
}

// Returns the bits of the largest magnitude among the lanes of both: a NaN's are above infinity's.
COPPICE_INLINE std::int32_t largest_magnitude(F32x16 a, F32x16 b) {
#if defined(__AVX512F__)
  const __m512i mask = _mm512_set1_epi32(0x7FFFFFFF);
  return _mm512_reduce_max_epi32(_mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(a.v), mask),
                                                  _mm512_and_si512(_mm512_castps_si512(b.v), mask)));
#elif defined(__AVX2__)
  const __m256i mask = _mm256_set1_epi32(0x7FFFFFFF);
  const auto larger = [&](__m256 x, __m256 y) COPPICE_INLINE_LAMBDA {
    return _mm256_max_epi32(_mm256_and_si256(_mm256_castps_si256(x), mask),
                            _mm256_and_si256(_mm256_castps_si256(y), mask));
  };
  const __m256i eight = _mm256_max_epi32(larger(a.low, a.high), larger(b.low, b.high));
  const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(1, 0, 3, 2)));
  return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, _MM_SHUFFLE(2, 3, 0, 1))));
#else
  std::int32_t largest = 0;
  for (int i = 0; i < 16; ++i) {
    const std::int32_t first = __builtin_bit_cast(std::int32_t, a.lane[i]) & 0x7FFFFFFF;
    const std::int32_t second = __builtin_bit_cast(std::int32_t, b.lane[i]) & 0x7FFFFFFF;
    const std::int32_t larger = first > second ? first : second;
    largest = larger > largest ? larger : largest;
  }
  return largest;
#endif
}

// Which bytes a sum of products can meet: below 64, or all. Without VNNI the latter need wider steps, since a pair of
// products of bytes may be beyond 16 bits.
enum class ByteRange { kBelow64, kAll };

// sums[i] + the four unsigned bytes of word i of `bytes` times the four signed bytes of `others`. REQUIRES: bytes in
// the range; no signed byte is -128.
template <ByteRange kRange>
COPPICE_INLINE I32x16 add_byte_products(I32x16 sums, I32x16 bytes, std::int32_t others) {
#if defined(__AVX512VNNI__)
  return {_mm512_dpbusd_epi32(sums.v, bytes.v, _mm512_set1_epi32(others))};
#elif defined(__AVX512F__)
  const __m512i other = _mm512_set1_epi32(others);
  if constexpr (kRange == ByteRange::kBelow64) {
    const __m512i pairs = _mm512_maddubs_epi16(bytes.v, other);
    return {_mm512_add_epi32(sums.v, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
  }
  const __m512i even = _mm512_madd_epi16(_mm512_and_si512(bytes.v, _mm512_set1_epi16(0xFF)),
                                         _mm512_srai_epi16(_mm512_slli_epi16(other, 8), 8));
  const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(bytes.v, 8), _mm512_srai_epi16(other, 8));
  return {_mm512_add_epi32(sums.v, _mm512_add_epi32(even, odd))};
#elif defined(__AVX2__)
  const __m256i other = _mm256_set1_epi32(others);
  if constexpr (kRange == ByteRange::kBelow64) {
    const __m256i ones = _mm256_set1_epi16(1);
    return {_mm256_add_epi32(sums.low, _mm256_madd_epi16(_mm256_maddubs_epi16(bytes.low, other), ones)),
            _mm256_add_epi32(sums.high, _mm256_madd_epi16(_mm256_maddubs_epi16(bytes.high, other), ones))};
  }
  const __m256i even_other = _mm256_srai_epi16(_mm256_slli_epi16(other, 8), 8);
  const __m256i odd_other = _mm256_srai_epi16(other, 8);
  const __m256i mask = _mm256_set1_epi16(0xFF);
  const auto products = [&](__m256i part) COPPICE_INLINE_LAMBDA {
    return _mm256_add_epi32(_mm256_madd_epi16(_mm256_and_si256(part, mask), even_other),
                            _mm256_madd_epi16(_mm256_srli_epi16(part, 8), odd_other));
  };
  return {_mm256_add_epi32(sums.low, products(bytes.low)), _mm256_add_epi32(sums.high, products(bytes.high))};
#else
  for (int i = 0; i < 16; ++i) {
    for (int byte = 0; byte < 4; ++byte) {
      const auto left = static_cast<std::int32_t>(static_cast<std::uint32_t>(bytes.lane[i]) >> (8 * byte) & 0xFFU);
      const auto right = static_cast<std::int8_t>(static_cast<std::uint32_t>(others) >> (8 * byte) & 0xFFU);
      sums.lane[i] += left * right;
    }
  }
  return sums;
#endif
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
