// Conversion of rows. Compiled once per instruction set (isa.h).
#include "kernels/host/convert_body.h"

#include "kernels/host/simd_half.h"

namespace coppice::kernels::cpu::COPPICE_ISA {

namespace {

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

void to_f32(const void* row, ComputeType type, std::int64_t count, float* out) {
  switch (type) {
    case ComputeType::kF32:
      return to_f32_row<ComputeType::kF32>(row, count, out);
    case ComputeType::kBF16:
      return to_f32_row<ComputeType::kBF16>(row, count, out);
    case ComputeType::kF16:
      return to_f32_row<ComputeType::kF16>(row, count, out);
  }
}

void to_bf16(const void* row, ComputeType type, std::int64_t count, std::uint16_t* out) {
  switch (type) {
    case ComputeType::kF32:
      return to_bf16_row<ComputeType::kF32>(row, count, out);
    case ComputeType::kBF16:  // bits unchanged, NaN payloads too
      std::memcpy(out, row, static_cast<std::size_t>(count) * sizeof(std::uint16_t));
      return;
    case ComputeType::kF16:
      return to_bf16_row<ComputeType::kF16>(row, count, out);
  }
}

}  // namespace

const ConvertBody& convert_body() {
  static constexpr ConvertBody kBody = {to_f32, to_bf16};
  return kBody;
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
