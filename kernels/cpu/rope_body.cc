// Norm and rotation of one head of one token.
#include "kernels/cpu/rope_body.h"

#include "kernels/cpu/simd.h"

namespace coppice::kernels::cpu::COPPICE_ISA {
namespace {

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

}  // namespace

const RopeBody& rope_body() {
  static constexpr RopeBody kBody = {rotate};
  return kBody;
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
