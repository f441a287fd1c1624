// The arithmetic of sampling, operation by operation what kernels/cpu/sample_body.cc and simd.h do with fused
// multiply-adds, so that the same logits draw the same tokens on both devices. Compiled without contraction of
// multiplications and additions (--fmad=false; -ffp-contract=off): fused is what says fmaf.
#pragma once

#include <device/primitives.cuh>

namespace coppice::kernels::cuda {

// Probability mass 1 in integers, which add up the same in every order.
inline constexpr float kSampleMassUnit = 0x1.0p40F;

COPPICE_DEVICE bool is_finite(float x) {
  return x - x == 0.0F;
}

COPPICE_DEVICE std::uint32_t float_bits(float x) {
  return __builtin_bit_cast(std::uint32_t, x);
}
COPPICE_DEVICE float bits_float(std::uint32_t bits) {
  return __builtin_bit_cast(float, bits);
}

COPPICE_DEVICE float negative_infinity() {
  return bits_float(0xFF800000U);
}

// Order-preserving and never 0; -0 and +0 are one number.
COPPICE_DEVICE std::uint32_t key_of_logit(float logit) {
  const std::uint32_t bits = float_bits(logit + 0.0F);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
COPPICE_DEVICE float logit_of_key(std::uint32_t key) {
  return bits_float((key & 0x80000000U) != 0 ? key & 0x7FFFFFFFU : ~key);
}

// A weight is in (0, 1]: its bits are its key. Masses are whole numbers of 2^-40.
COPPICE_DEVICE unsigned long long mass_of_key(std::uint32_t key) {
  return static_cast<unsigned long long>(static_cast<long long>(bits_float(key) * kSampleMassUnit));
}

// e^a (Cephes expf); e^-infinity = 0. Two factors for the power of two, so that subnormal results come out right.
COPPICE_DEVICE float exponential(float a) {
  a = a > -105.0F ? a : -105.0F;
  a = a < 90.0F ? a : 90.0F;
  const float n = rintf(a * 1.44269504088896341F);
  float r = fmaf(n, -0.693359375F, a);
  r = fmaf(n, 2.12194440e-4F, r);
  float p = 1.9875691500E-4F;
  p = fmaf(p, r, 1.3981999507E-3F);
  p = fmaf(p, r, 8.3334519073E-3F);
  p = fmaf(p, r, 4.1665795894E-2F);
  p = fmaf(p, r, 1.6666665459E-1F);
  p = fmaf(p, r, 5.0000001201E-1F);
  p = fmaf(p, r * r, r);
  const auto whole = static_cast<std::int32_t>(n);
  const std::int32_t half = whole >> 1;
  return (p + 1.0F) * bits_float(static_cast<std::uint32_t>(half + 127) << 23) *
         bits_float(static_cast<std::uint32_t>(whole - half + 127) << 23);
}

// ln a for normal a > 0 (Cephes logf).
COPPICE_DEVICE float logarithm(float a) {
  const std::uint32_t bits = float_bits(a) - 0x3F3504F3U;
  const auto n = static_cast<float>(static_cast<std::int32_t>(bits) >> 23);
  const float r = bits_float((bits & 0x7FFFFFU) + 0x3F3504F3U) - 1.0F;
  float p = 7.0376836292E-2F;
  p = fmaf(p, r, -1.1514610310E-1F);
  p = fmaf(p, r, 1.1676998740E-1F);
  p = fmaf(p, r, -1.2420140846E-1F);
  p = fmaf(p, r, 1.4249322787E-1F);
  p = fmaf(p, r, -1.6668057665E-1F);
  p = fmaf(p, r, 2.0000714765E-1F);
  p = fmaf(p, r, -2.4999993993E-1F);
  p = fmaf(p, r, 3.3333331174E-1F);
  const float square = r * r;
  float tail = p * r * square;
  tail = fmaf(n, -2.12194440e-4F, tail);
  tail = fmaf(square, -0.5F, tail);
  return fmaf(n, 0.693359375F, r + tail);
}

// An exponentially distributed number from a random word (sample_body.cc says why in this way).
COPPICE_DEVICE float exponential_draw(std::uint32_t word) {
  constexpr float kBelowOne = 1.0F - 0x1.0p-24F;  // the largest float below 1
  float u = (static_cast<float>(word) + 0.5F) * 0x1.0p-32F;
  u = u < kBelowOne ? u : kBelowOne;
  const float m = 1.0F - u;
  const float below_one = m < kBelowOne ? m : kBelowOne;
  const float draw = (0.0F - logarithm(below_one)) * u / (1.0F - below_one);
  return m == 1.0F ? u : draw;
}

// base::philox4x32 (base/random.h) for the four tokens 4 group … 4 group + 3.
COPPICE_DEVICE Vector<std::uint32_t, 4> random_words(std::uint64_t seed, std::uint64_t position, std::uint32_t group) {
  std::uint32_t c0 = static_cast<std::uint32_t>(position);
  std::uint32_t c1 = static_cast<std::uint32_t>(position >> 32);
  std::uint32_t c2 = group;
  std::uint32_t c3 = 1;  // the stream is 2^32 + group
  std::uint32_t key0 = static_cast<std::uint32_t>(seed);
  std::uint32_t key1 = static_cast<std::uint32_t>(seed >> 32);
#pragma unroll
  for (std::int32_t round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53U} * c0;
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57U} * c2;
    c0 = static_cast<std::uint32_t>(product1 >> 32) ^ c1 ^ key0;
    c1 = static_cast<std::uint32_t>(product1);
    c2 = static_cast<std::uint32_t>(product0 >> 32) ^ c3 ^ key1;
    c3 = static_cast<std::uint32_t>(product0);
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return {{c0, c1, c2, c3}};
}

}  // namespace coppice::kernels::cuda
