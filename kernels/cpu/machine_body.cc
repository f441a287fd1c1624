// Inner loops of machine measurement. Compiled once per instruction set (isa.h).
#include "kernels/cpu/machine_body.h"

#include "kernels/host/simd.h"

namespace coppice::kernels::cpu::COPPICE_ISA {

namespace {

// Independent chains: two multiply-adds a cycle with a latency of four or five need ten. Where a chain is two
// registers, half as many, or they would not fit into the sixteen there are.
#if defined(__AVX512F__)
// Independent sums: latency times throughput of multiply-add, and registers to hold them.
constexpr int kChains = 12;
#else
constexpr int kChains = 6;  // independent sums: latency times throughput of multiply-add, and registers to hold them
#endif
constexpr double kLaneOperations = 2.0 * 16;  // a multiply and an add in each of 16 lanes

std::uint64_t read(const void* data, std::int64_t bytes) {
  const auto* p = static_cast<const char*>(data);
#if defined(__AVX512F__)
  __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
  for (std::int64_t i = 0; i < bytes; i += 256) {
    for (int part = 0; part < 4; ++part) {
      sums[part] = _mm512_add_epi64(sums[part], _mm512_load_si512(p + i + part * 64));
    }
  }
  std::uint64_t words[8];
  _mm512_storeu_si512(words, _mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]), _mm512_add_epi64(sums[2], sums[3])));
#elif defined(__AVX2__)
  __m256i sums[8] = {};
  for (std::int64_t i = 0; i < bytes; i += 256) {
    for (int part = 0; part < 8; ++part) {
      sums[part] = _mm256_add_epi64(sums[part], _mm256_load_si256(reinterpret_cast<const __m256i*>(p + i + part * 32)));
    }
  }
  std::uint64_t words[4];
  for (int part = 1; part < 8; ++part) {
    sums[0] = _mm256_add_epi64(sums[0], sums[part]);
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(words), sums[0]);
#else
  std::uint64_t words[8] = {};
  for (std::int64_t i = 0; i < bytes; i += 64) {
    std::uint64_t line[8];
    __builtin_memcpy(line, p + i, 64);
    for (int word = 0; word < 8; ++word) {
      words[word] += line[word];
    }
  }
#endif
  std::uint64_t total = 0;
  for (const std::uint64_t word : words) {
    total += word;
  }
  return total;
}

double multiply_f32(std::int64_t rounds, float* sink) {
  F32x16 chains[kChains];
  for (int i = 0; i < kChains; ++i) {
    chains[i] = broadcast(static_cast<float>(i));
  }
  // The sink's number is not known when compiling: nothing can be worked out beforehand.
  const F32x16 factor = broadcast(*sink);
  const F32x16 addend = broadcast(1e-3F);
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < kChains; ++i) {
      chains[i] = multiply_add(chains[i], factor, addend);
    }
  }
  for (int i = 1; i < kChains; ++i) {
    chains[0] = add(chains[0], chains[i]);
  }
  *sink = sum(chains[0]);
  return static_cast<double>(rounds) * kChains * kLaneOperations;
}

#if defined(__AVX512BF16__) && defined(__AVX512VNNI__)
// Named registers and assembly: g++ 12 puts a copy beside every dot product of an intrinsic accumulator.
#define COPPICE_TWELVE(instruction)                                                                               \
  instruction(c0) instruction(c1) instruction(c2) instruction(c3) instruction(c4) instruction(c5) instruction(c6) \
      instruction(c7) instruction(c8) instruction(c9) instruction(c10) instruction(c11)
#define COPPICE_DOT_BF16(c) __asm__ volatile("vdpbf16ps %1, %1, %0" : "+v"(c) : "v"(factor));
#define COPPICE_DOT_INT8(c) __asm__ volatile("vpdpbusd %1, %1, %0" : "+v"(c) : "v"(factor));
#define COPPICE_SUM(c) total = _mm512_add_epi32(total, c);
#define COPPICE_DOT_LOOP(name, dot, operations)                                       \
  double name(std::int64_t rounds, float* sink) {                                     \
    __m512i c0 = _mm512_setzero_si512(), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0; \
    __m512i c6 = c0, c7 = c0, c8 = c0, c9 = c0, c10 = c0, c11 = c0, total = c0;       \
    const __m512i factor = _mm512_castps_si512(_mm512_set1_ps(*sink));                \
    for (std::int64_t round = 0; round < rounds; ++round) {                           \
      COPPICE_TWELVE(dot)                                                             \
    }                                                                                 \
    COPPICE_TWELVE(COPPICE_SUM)                                                       \
    *sink = sum(F32x16{_mm512_cvtepi32_ps(total)});                                   \
    return static_cast<double>(rounds) * kChains * (operations);                      \
  }
COPPICE_DOT_LOOP(multiply_bf16, COPPICE_DOT_BF16, 2.0 * 32)
COPPICE_DOT_LOOP(multiply_int8, COPPICE_DOT_INT8, 2.0 * 64)
#else
// Without dot products bf16 is widened to f32.
double multiply_bf16(std::int64_t rounds, float* sink) {
  return multiply_f32(rounds, sink);
}

double multiply_int8(std::int64_t rounds, float* sink) {
#if defined(__AVX2__)
  // Pairs of bytes, then pairs of words, then the sum: three instructions for 32 multiply-adds.
  constexpr int kByteChains = 12;  // one register each
  __m256i chains[kByteChains];
  const __m256i factor = _mm256_castps_si256(_mm256_set1_ps(*sink));
  const __m256i ones = _mm256_set1_epi16(1);
  for (__m256i& chain : chains) {
    chain = _mm256_setzero_si256();
  }
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (__m256i& chain : chains) {
      const __m256i pairs = _mm256_maddubs_epi16(_mm256_xor_si256(factor, chain), factor);
      chain = _mm256_add_epi32(chain, _mm256_madd_epi16(pairs, ones));
    }
  }
  for (int i = 1; i < kByteChains; ++i) {
    chains[0] = _mm256_add_epi32(chains[0], chains[i]);
  }
  float lanes[8];
  _mm256_storeu_ps(lanes, _mm256_cvtepi32_ps(chains[0]));
  *sink = lanes[0];
  return static_cast<double>(rounds) * kByteChains * 2.0 * 32;
#else
  return multiply_f32(rounds, sink);
#endif
}
#endif

}  // namespace

const MachineBody& machine_body() {
  static constexpr MachineBody kBody = {read, multiply_f32, multiply_bf16, multiply_int8};
  return kBody;
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
