// Inner loops of the row-wise operations. Compiled once per instruction set (isa.h).
#include "kernels/cpu/elementwise_body.h"

#include "kernels/host/simd.h"
#include "kernels/host/simd_half.h"

namespace coppice::kernels::cpu::COPPICE_ISA {

namespace {

// --- RMSNorm ---

// Four accumulators hide the latency of the multiply-add; their sum is a fixed tree.
float sum_of_squares(const float* x, std::int64_t count) {
  F32x16 sums[4] = {zero(), zero(), zero(), zero()};
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    for (int part = 0; part < 4; ++part) {
      const F32x16 value = load(x + i + part * kLanes);
      sums[part] = multiply_add(value, value, sums[part]);
    }
  }
  for (; i < count; i += kLanes) {
    const F32x16 value = load_any(x, ComputeType::kF32, i, count - i);
    sums[0] = multiply_add(value, value, sums[0]);
  }
  return sum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}

template <ComputeType kOut>
void rms_norm_row(const float* x, const float* weight, float epsilon, std::int64_t hidden, void* out) {
  const float mean = sum_of_squares(x, hidden) / static_cast<float>(hidden);
  const F32x16 scale = broadcast(1.0F / __builtin_sqrtf(mean + epsilon));
  for_vectors(hidden, [&](std::int64_t i, std::int64_t lanes) COPPICE_INLINE_LAMBDA {
    const F32x16 normal = multiply(load_any(x, ComputeType::kF32, i, lanes), scale);
    store_any(out, kOut, i, lanes, multiply(normal, load_any(weight, ComputeType::kF32, i, lanes)));
  });
}

void rms_norm(const float* x, const float* weight, float epsilon, std::int64_t hidden, void* out, ComputeType type) {
  switch (type) {
    case ComputeType::kF32:
      return rms_norm_row<ComputeType::kF32>(x, weight, epsilon, hidden, out);
    case ComputeType::kBF16:
      return rms_norm_row<ComputeType::kBF16>(x, weight, epsilon, hidden, out);
    case ComputeType::kF16:
      __builtin_trap();  // the CPU does not compute in f16
  }
}

// --- SwiGLU ---

template <ComputeType kIn, ComputeType kOut>
void swiglu_row(const void* gate, const void* up, std::int64_t count, void* out) {
  const F32x16 one = broadcast(1.0F);
  for_vectors(count, [&](std::int64_t i, std::int64_t lanes) COPPICE_INLINE_LAMBDA {
    const F32x16 x = load_any(gate, kIn, i, lanes);
    const F32x16 silu = divide(x, add(one, exponential(subtract(zero(), x))));
    store_any(out, kOut, i, lanes, multiply(silu, load_any(up, kIn, i, lanes)));
  });
}

template <ComputeType kIn>
void swiglu_from(const void* gate, const void* up, std::int64_t count, void* out, ComputeType out_type) {
  switch (out_type) {
    case ComputeType::kF32:
      return swiglu_row<kIn, ComputeType::kF32>(gate, up, count, out);
    case ComputeType::kBF16:
      return swiglu_row<kIn, ComputeType::kBF16>(gate, up, count, out);
    case ComputeType::kF16:
      __builtin_trap();  // the CPU does not compute in f16
  }
}

void swiglu(const void* gate, const void* up, ComputeType in_type, std::int64_t count, void* out,
            ComputeType out_type) {
  switch (in_type) {
    case ComputeType::kF32:
      return swiglu_from<ComputeType::kF32>(gate, up, count, out, out_type);
    case ComputeType::kBF16:
      return swiglu_from<ComputeType::kBF16>(gate, up, count, out, out_type);
    case ComputeType::kF16:
      __builtin_trap();  // the CPU does not compute in f16
  }
}

// --- rotation of one head of one token ---

COPPICE_INLINE std::int64_t lanes_left(std::int64_t end, std::int64_t i) {
  return end - i < kLanes ? end - i : kLanes;
}

void norm(const float* x, const float* weight, float epsilon, std::int64_t head_dim, float* out) {
  F32x16 squares = zero();
  for (std::int64_t i = 0; i < head_dim; i += kLanes) {
    const F32x16 value = load_first(x + i, lanes_left(head_dim, i));
    squares = multiply_add(value, value, squares);
  }
  const float mean = sum(squares) / static_cast<float>(head_dim);
  const F32x16 scale = broadcast(1.0F / __builtin_sqrtf(mean + epsilon));
  for (std::int64_t i = 0; i < head_dim; i += kLanes) {
    const std::int64_t count = lanes_left(head_dim, i);
    store_first(out + i, multiply(multiply(load_first(x + i, count), scale), load_first(weight + i, count)), count);
  }
}

void rotate(const float* x, const float* weight, float epsilon, const float* cosine_sine, std::int32_t rotary_dim,
            std::int32_t head_dim, float* out) {
  if (weight != nullptr) {
    norm(x, weight, epsilon, head_dim, out);
  } else {
    std::memcpy(out, x, static_cast<std::size_t>(head_dim) * sizeof *out);
  }
  const std::int64_t half = rotary_dim / 2;
  for (std::int64_t i = 0; i < half; i += kLanes) {
    const std::int64_t count = lanes_left(half, i);
    const F32x16 cosine = load_first(cosine_sine + i, count);
    const F32x16 sine = load_first(cosine_sine + half + i, count);
    const F32x16 first = load_first(out + i, count);
    const F32x16 second = load_first(out + half + i, count);
    store_first(out + i, subtract(multiply(first, cosine), multiply(second, sine)), count);
    store_first(out + half + i, add(multiply(second, cosine), multiply(first, sine)), count);
  }
}

// --- numbers of 8 bits with one scale ---

float quantise(const float* x, std::int64_t count, std::int8_t* out) {
  F32x16 highest = zero();
  F32x16 broken = zero();  // NaN where a number is not finite: a comparison would lose it
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const F32x16 value = load_first(x + i, lanes_left(count, i));
    highest = maximum(highest, maximum(value, subtract(zero(), value)));
    broken = multiply_add(value, zero(), broken);
  }
  constexpr float kMost = 127.0F;  // the largest whole number: as many on both sides of 0
  const float scale = largest(highest) / kMost + sum(broken);
  const F32x16 unit = broadcast(scale > 0.0F ? scale : 1.0F);
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const std::int64_t lanes = lanes_left(count, i);
    // The limits are for scales too small to be exact.
    const F32x16 whole = minimum(maximum(divide(load_first(x + i, lanes), unit), broadcast(-kMost)), broadcast(kMost));
    float rounded[kLanes];
    store(rounded, round_to_whole(whole));
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      out[i + lane] = static_cast<std::int8_t>(rounded[lane]);
    }
  }
  return scale;
}

}  // namespace

const ElementwiseBody& elementwise_body() {
  static constexpr ElementwiseBody kBody = {rms_norm, swiglu, rotate, quantise};
  return kBody;
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
