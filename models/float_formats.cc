// Conversions of whole tensors between element types (float_formats.h).
#include "models/float_formats.h"

#include <algorithm>

#include "base/check.h"

namespace coppice::models {
namespace {

std::size_t element_count(const kernels::HostTensor& tensor) {
  return static_cast<std::size_t>(tensor.rows) * static_cast<std::size_t>(tensor.columns);
}

// `round`: a float to the bits of `dtype`.
template <typename Round>
void narrow(const kernels::HostTensor& source, kernels::DType dtype, Round round, std::span<std::uint16_t> target) {
  const std::size_t count = element_count(source);
  COPPICE_CHECK(target.size() == count, "the target's size is not the tensor's");
  if (source.dtype == kernels::DType::kF32) {
    const auto* from = static_cast<const float*>(source.data);
    std::transform(from, from + count, target.begin(), round);
    return;
  }
  const auto* from = static_cast<const std::uint16_t*>(source.data);
  if (source.dtype == dtype) {
    std::copy(from, from + count, target.begin());
  } else if (source.dtype == kernels::DType::kBF16) {
    std::transform(from, from + count, target.begin(), [&](std::uint16_t bits) { return round(bf16_to_float(bits)); });
  } else {
    std::transform(from, from + count, target.begin(), [&](std::uint16_t bits) { return round(f16_to_float(bits)); });
  }
}

}  // namespace

void convert_to_float(const kernels::HostTensor& source, std::span<float> target) {
  const std::size_t count = element_count(source);
  COPPICE_CHECK(target.size() == count, "the target's size is not the tensor's");
  if (source.dtype == kernels::DType::kF32) {
    const auto* from = static_cast<const float*>(source.data);
    std::copy(from, from + count, target.begin());
    return;
  }
  const auto* from = static_cast<const std::uint16_t*>(source.data);
  if (source.dtype == kernels::DType::kBF16) {
    std::transform(from, from + count, target.begin(), bf16_to_float);
  } else {
    std::transform(from, from + count, target.begin(), f16_to_float);
  }
}

void convert_to_bf16(const kernels::HostTensor& source, std::span<std::uint16_t> target) {
  narrow(source, kernels::DType::kBF16, float_to_bf16, target);
}

void convert_to_f16(const kernels::HostTensor& source, std::span<std::uint16_t> target) {
  narrow(source, kernels::DType::kF16, kernels::float_to_f16, target);
}

}  // namespace coppice::models
