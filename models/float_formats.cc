// Conversions of whole tensors between element types (float_formats.h).
#include "models/float_formats.h"

#include <algorithm>

#include "base/check.h"

namespace coppice::models {
namespace {

std::size_t element_count(const kernels::HostTensor& tensor) {
  return static_cast<std::size_t>(tensor.rows) * static_cast<std::size_t>(tensor.columns);
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
  const std::size_t count = element_count(source);
  COPPICE_CHECK(target.size() == count, "the target's size is not the tensor's");
  if (source.dtype == kernels::DType::kF32) {
    const auto* from = static_cast<const float*>(source.data);
    std::transform(from, from + count, target.begin(), float_to_bf16);
    return;
  }
  const auto* from = static_cast<const std::uint16_t*>(source.data);
  if (source.dtype == kernels::DType::kBF16) {
    std::copy(from, from + count, target.begin());
  } else {
    std::transform(from, from + count, target.begin(),
                   [](std::uint16_t bits) { return float_to_bf16(f16_to_float(bits)); });
  }
}

}  // namespace coppice::models
