// Inner loops of the row-wise operations. Compiled once per instruction set (isa.h).
#include "kernels/cpu/elementwise_body.h"

#include "kernels/cpu/simd.h"
#include "kernels/cpu/simd_half.h"

namespace coppice::kernels::cpu::COPPICE_ISA {

namespace {

// Calls step(i, count) for the row's vectors of sixteen numbers, then for the rest. Two calls, so that the compiler
// builds the common one without the tail's detours.
template <typename Step>
COPPICE_INLINE void for_vectors(std::int64_t total, const Step& step) {
  std::int64_t i = 0;
  for (; i + kLanes <= total; i += kLanes) {
    step(i, kLanes);
  }
  if (i < total) {
    step(i, total - i);
  }
}

// Sixteen numbers (or the first `count`) of a row of any type, from element `i`.
COPPICE_INLINE F32x16 load_any(const void* row, ComputeType type, std::int64_t i, std::int64_t count) {
  if (type == ComputeType::kF32) {
    const float* p = static_cast<const float*>(row) + i;
    return count >= kLanes ? load(p) : load_first(p, count);
  }
  const std::uint16_t* p = static_cast<const std::uint16_t*>(row) + i;
  if (type == ComputeType::kBF16) {
    return count >= kLanes ? load_bf16(p) : load_bf16_first(p, count);
  }
  return count >= kLanes ? load_f16(p) : load_f16_first(p, count);
}

COPPICE_INLINE void store_any(void* row, ComputeType type, std::int64_t i, std::int64_t count, F32x16 value) {
  if (type == ComputeType::kF32) {
    float* p = static_cast<float*>(row) + i;
    count >= kLanes ? store(p, value) : store_first(p, value, count);
    return;
  }
  std::uint16_t* p = static_cast<std::uint16_t*>(row) + i;
  count >= kLanes ? store_bf16(p, value) : store_bf16_first(p, value, count);
}

template <ComputeType kType>
void to_f32_row(const void* row, std::int64_t count, float* out) {
  for_vectors(count, [&](std::int64_t i, std::int64_t lanes) COPPICE_INLINE_LAMBDA {
    store_any(out, ComputeType::kF32, i, lanes, load_any(row, kType, i, lanes));
  });
}

template <ComputeType kType>
void to_bf16_row(const void* row, std::int64_t count, std::uint16_t* out) {
  for_vectors(count, [&](std::int64_t i, std::int64_t lanes) COPPICE_INLINE_LAMBDA {
    store_any(out, ComputeType::kBF16, i, lanes, load_any(row, kType, i, lanes));
  });
}

void to_f32(const void* row, WeightFormat format, std::int64_t count, float* out) {
  switch (format.kind) {
    case WeightKind::kF32:
      return to_f32_row<ComputeType::kF32>(row, count, out);
    case WeightKind::kBF16:
      return to_f32_row<ComputeType::kBF16>(row, count, out);
    case WeightKind::kF16:
      return to_f32_row<ComputeType::kF16>(row, count, out);
  }
}

void to_bf16(const void* row, WeightFormat format, std::int64_t count, std::uint16_t* out) {
  switch (format.kind) {
    case WeightKind::kF32:
      return to_bf16_row<ComputeType::kF32>(row, count, out);
    case WeightKind::kBF16:  // bits unchanged, NaN payloads too
      std::memcpy(out, row, static_cast<std::size_t>(count) * sizeof(std::uint16_t));
      return;
    case WeightKind::kF16:
      return to_bf16_row<ComputeType::kF16>(row, count, out);
  }
}

// Four accumulators hide the latency of the multiply-add; they are summed in a fixed tree.
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

void rms_norm(const float* x, const float* weight, float epsilon, std::int64_t hidden, void* out, ComputeType type) {
  const float mean = sum_of_squares(x, hidden) / static_cast<float>(hidden);
  const F32x16 scale = broadcast(1.0F / __builtin_sqrtf(mean + epsilon));
  for_vectors(hidden, [&](std::int64_t i, std::int64_t lanes) COPPICE_INLINE_LAMBDA {
    const F32x16 normal = multiply(load_any(x, ComputeType::kF32, i, lanes), scale);
    store_any(out, type, i, lanes, multiply(normal, load_any(weight, ComputeType::kF32, i, lanes)));
  });
}

template <ComputeType kIn, ComputeType kOut>
void swiglu_row(const void* gate, const void* up, std::int64_t count, void* out) {
  const F32x16 one = broadcast(1.0F);
  for_vectors(count, [&](std::int64_t i, std::int64_t lanes) COPPICE_INLINE_LAMBDA {
    const F32x16 x = load_any(gate, kIn, i, lanes);
    const F32x16 silu = divide(x, add(one, exponential(subtract(zero(), x))));
    store_any(out, kOut, i, lanes, multiply(silu, load_any(up, kIn, i, lanes)));
  });
}

void swiglu(const void* gate, const void* up, ComputeType in_type, std::int64_t count, void* out,
            ComputeType out_type) {
  if (in_type == ComputeType::kF32) {
    return out_type == ComputeType::kF32 ? swiglu_row<ComputeType::kF32, ComputeType::kF32>(gate, up, count, out)
                                         : swiglu_row<ComputeType::kF32, ComputeType::kBF16>(gate, up, count, out);
  }
  return out_type == ComputeType::kF32 ? swiglu_row<ComputeType::kBF16, ComputeType::kF32>(gate, up, count, out)
                                       : swiglu_row<ComputeType::kBF16, ComputeType::kBF16>(gate, up, count, out);
}

}  // namespace

const ElementwiseBody& elementwise_body() {
  static constexpr ElementwiseBody kBody = {to_f32, to_bf16, rms_norm, swiglu};
  return kBody;
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
