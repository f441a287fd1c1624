// Inner loops of sampling. Compiled once per instruction set (isa.h).
#include "kernels/cpu/sample_body.h"

#include "kernels/host/simd.h"

namespace coppice::kernels::cpu::COPPICE_ISA {

namespace {

constexpr float kInfinity = __builtin_inff();  // no logit: masked
constexpr std::int64_t kBlock = 64;            // tokens of one step of the race: sixteen Philox counters of four words

COPPICE_INLINE std::int64_t smaller(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}

COPPICE_INLINE bool is_finite(float x) {
  return x - x == 0.0F;
}

// x - x is NaN exactly where x is not finite; maximum() then keeps its second operand out by order of arguments.
COPPICE_INLINE F32x16 finite_or_lowest(F32x16 x) {
  float lanes[16];
  store(lanes, x);
  for (float& lane : lanes) {
    lane = is_finite(lane) ? lane : -kInfinity;
  }
  return load(lanes);
}

// Not x < infinity is true of NaN and of infinity alone. maximum() does not keep them: `broken` does.
COPPICE_INLINE F32x16 keep_larger(F32x16 x, F32x16 best, float* broken) {
  float lanes[16];
  store(lanes, x);
  for (int i = 0; i < 16; ++i) {
    broken[i] = lanes[i] < kInfinity ? broken[i] : 1.0F;
  }
  return maximum(x, best);
}

float largest_of(const float* x, std::int64_t vocab) {
  F32x16 best[4] = {broadcast(-kInfinity), broadcast(-kInfinity), broadcast(-kInfinity), broadcast(-kInfinity)};
  float broken[16] = {};
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= vocab; i += 4 * kLanes) {
    for (int part = 0; part < 4; ++part) {
      best[part] = keep_larger(load(x + i + part * kLanes), best[part], broken);
    }
  }
  float result = largest(maximum(maximum(best[0], best[1]), maximum(best[2], best[3])));
  bool is_broken = largest(load(broken)) > 0.0F;
  for (; i < vocab; ++i) {
    is_broken = is_broken || !(x[i] < kInfinity);
    result = x[i] > result ? x[i] : result;
  }
  return is_broken ? __builtin_nanf("") : result;
}

std::int64_t find(const float* x, std::int64_t vocab, float value) {
  std::int64_t i = 0;
  for (; i + kBlock <= vocab; i += kBlock) {
    std::int32_t hits = 0;
    for (std::int64_t j = 0; j < kBlock; ++j) {
      hits += x[i + j] == value ? 1 : 0;
    }
    if (hits != 0) {
      break;
    }
  }
  for (; i < vocab; ++i) {
    if (x[i] == value) {
      return i;
    }
  }
  return -1;
}

// e^((x - largest) / temperature), 0 for what is not finite. Division, not a product with the reciprocal: a tiny
// temperature then gives 0 / t = 0 for the largest and -infinity for the others.
COPPICE_INLINE F32x16 weight_of(F32x16 x, F32x16 largest_x, F32x16 temperature) {
  return exponential(divide(subtract(finite_or_lowest(x), largest_x), temperature));
}

float sum_exponentials(const float* x, std::int64_t vocab, float largest_x) {
  const F32x16 top = broadcast(largest_x);
  F32x16 sums[4] = {zero(), zero(), zero(), zero()};
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= vocab; i += 4 * kLanes) {
    for (int part = 0; part < 4; ++part) {
      const F32x16 value = finite_or_lowest(load(x + i + part * kLanes));
      sums[part] = add(sums[part], exponential(subtract(value, top)));
    }
  }
  for (; i < vocab; i += kLanes) {
    float lanes[16];
    for (std::int64_t j = 0; j < kLanes; ++j) {
      lanes[j] = i + j < vocab ? x[i + j] : -kInfinity;
    }
    sums[0] = add(sums[0], exponential(subtract(finite_or_lowest(load(lanes)), top)));
  }
  return sum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}

void weights(const float* x, std::int64_t vocab, float largest_x, float temperature, float* out) {
  const F32x16 top = broadcast(largest_x);
  const F32x16 divisor = broadcast(temperature);
  std::int64_t i = 0;
  for (; i + kLanes <= vocab; i += kLanes) {
    store(out + i, weight_of(load(x + i), top, divisor));
  }
  if (i < vocab) {
    store_first(out + i, weight_of(load_first(x + i, vocab - i), top, divisor), vocab - i);
  }
}

std::uint64_t total_mass(const float* weights_in, std::int64_t vocab) {
  std::uint64_t total = 0;
  for (std::int64_t i = 0; i < vocab; ++i) {
    total += static_cast<std::uint64_t>(static_cast<std::int64_t>(weights_in[i] * 0x1.0p40F));
  }
  return total;
}

void keep_allowed(float* x, std::int64_t vocab, const std::uint32_t* allowed, std::int64_t words) {
  for (std::int64_t i = 0; i < vocab; i += 32) {
    const std::uint32_t bits = i / 32 < words ? allowed[i / 32] : 0U;
    const std::int64_t count = smaller(32, vocab - i);
    if (bits == 0xFFFFFFFFU) {
      continue;
    }
    for (std::int64_t j = 0; j < count; ++j) {
      x[i + j] = (bits >> j & 1U) != 0 ? x[i + j] : -kInfinity;
    }
  }
}

// --- Philox4x32-10 (base/random.h) with sixteen counters side by side. A body may not share the inline function of
// base/random.h (isa.h says why), so this is the same generator again, tested against it. ---

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

// --- the race ---

// The 64 words that belong to tokens [64 block, 64 block + 64): token t has word t % 4 of
// base::philox4x32(seed, position, 2^32 + t / 4); the high half of the stream keeps the draw of a token apart from
// every other use of the pair (seed, position).
COPPICE_INLINE void random_words(const RaceDraw& draw, std::int64_t block, std::uint32_t* words) {
  U32x16 lanes[4];
  philox(draw.seed, draw.position, (std::uint64_t{1} << 32) + static_cast<std::uint64_t>(block) * 16, lanes);
  std::uint32_t columns[4][16];
  for (int word = 0; word < 4; ++word) {
    store_u32(columns[word], lanes[word]);
  }
  for (int i = 0; i < 16; ++i) {
    for (int word = 0; word < 4; ++word) {
      words[4 * i + word] = columns[word][i];
    }
  }
}

// ln a for normal a > 0 (Cephes logf), at most 2 units in the last place off.
COPPICE_INLINE F32x16 logarithm(F32x16 a) {
  float lanes[16];
  float exponents[16];
  store(lanes, a);
  for (int i = 0; i < 16; ++i) {
    // Mantissa in [sqrt(1/2), sqrt(2)).
    const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, lanes[i]) - 0x3F3504F3U;
    exponents[i] = static_cast<float>(static_cast<std::int32_t>(bits) >> 23);
    lanes[i] = __builtin_bit_cast(float, (bits & 0x7FFFFFU) + 0x3F3504F3U);
  }
  const F32x16 n = load(exponents);
  const F32x16 r = subtract(load(lanes), broadcast(1.0F));
  F32x16 p = broadcast(7.0376836292E-2F);
  p = multiply_add(p, r, broadcast(-1.1514610310E-1F));
  p = multiply_add(p, r, broadcast(1.1676998740E-1F));
  p = multiply_add(p, r, broadcast(-1.2420140846E-1F));
  p = multiply_add(p, r, broadcast(1.4249322787E-1F));
  p = multiply_add(p, r, broadcast(-1.6668057665E-1F));
  p = multiply_add(p, r, broadcast(2.0000714765E-1F));
  p = multiply_add(p, r, broadcast(-2.4999993993E-1F));
  p = multiply_add(p, r, broadcast(3.3333331174E-1F));
  const F32x16 square = multiply(r, r);
  F32x16 tail = multiply(multiply(p, r), square);
  tail = multiply_add(n, broadcast(-2.12194440e-4F), tail);
  tail = multiply_add(square, broadcast(-0.5F), tail);
  return multiply_add(n, broadcast(0.693359375F), add(r, tail));
}

// Exponentially distributed numbers, -ln(1 - u) with u = (word + 1/2) / 2^32, good to a few units in the last place
// also where they are small (those decide the race): ln(1 - u) = ln(m) u / (1 - m) with m = 1 - u rounded; Goldberg,
// "What every computer scientist should know about floating-point arithmetic", theorem 4.
COPPICE_INLINE F32x16 exponential_draws(const std::uint32_t* words) {
  float lanes[16];
  for (int i = 0; i < 16; ++i) {
    lanes[i] = static_cast<float>(words[i]);
  }
  const F32x16 one = broadcast(1.0F);
  // 1 - 2^-24 at most, so that no draw is infinite.
  const F32x16 u =
      minimum(multiply(add(load(lanes), broadcast(0.5F)), broadcast(0x1.0p-32F)), broadcast(1.0F - 0x1.0p-24F));
  const F32x16 m = subtract(one, u);
  // Where m rounds to 1 the answer is u; 2^-24 keeps the quotient defined there and leaves every other m alone.
  const F32x16 below_one = minimum(m, broadcast(1.0F - 0x1.0p-24F));
  const F32x16 draws = divide(multiply(subtract(zero(), logarithm(below_one)), u), subtract(one, below_one));
  store(lanes, draws);
  float rounded[16];
  float uniforms[16];
  store(rounded, m);
  store(uniforms, u);
  for (int i = 0; i < 16; ++i) {
    lanes[i] = rounded[i] == 1.0F ? uniforms[i] : lanes[i];
  }
  return load(lanes);
}

// weight / E for the tokens of one block, 0 for those that do not run; returns the largest.
COPPICE_INLINE float score_block(const float* block_weights, float weight_min, const std::uint32_t* words,
                                 float* scores) {
  F32x16 best = zero();
  for (std::int64_t i = 0; i < kBlock; i += kLanes) {
    float running[16];
    for (std::int64_t j = 0; j < kLanes; ++j) {
      running[j] = block_weights[i + j] < weight_min ? 0.0F : block_weights[i + j];
    }
    const F32x16 score = divide(load(running), exponential_draws(words + i));
    store(scores + i, score);
    best = maximum(score, best);
  }
  return largest(best);
}

// The heaviest of a block's tokens.
COPPICE_INLINE float heaviest_of(const float* block_weights) {
  const F32x16 front = maximum(load(block_weights), load(block_weights + kLanes));
  return largest(maximum(front, maximum(load(block_weights + 2 * kLanes), load(block_weights + 3 * kLanes))));
}

std::int64_t race(const float* weights_in, std::int64_t vocab, const RaceDraw& draw) {
  std::int64_t winner = -1;
  float best = 0.0F;
  for (std::int64_t i = 0; i < vocab; i += kBlock) {
    float padded[kBlock];
    const float* block = weights_in + i;
    if (vocab - i < kBlock) {
      for (std::int64_t j = 0; j < kBlock; ++j) {
        padded[j] = j < vocab - i ? block[j] : 0.0F;
      }
      block = padded;
    }
    // No E is below 2^-33: a block this light cannot win.
    const float heaviest = heaviest_of(block);
    if (heaviest < draw.weight_min || heaviest * 0x1.0p34F <= best) {
      continue;
    }
    std::uint32_t words[kBlock];
    float scores[kBlock];
    random_words(draw, i / kBlock, words);
    if (score_block(block, draw.weight_min, words, scores) > best) {
      for (std::int64_t j = 0; j < kBlock; ++j) {
        if (scores[j] > best) {
          best = scores[j];
          winner = i + j;
        }
      }
    }
  }
  return winner;
}

}  // namespace

const SampleBody& sample_body() {
  static constexpr SampleBody kBody = {largest_of, find, sum_exponentials, weights, total_mass, keep_allowed, race};
  return kBody;
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
