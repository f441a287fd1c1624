// Conversions of whole weights (float_formats.h).
#include "models/float_formats.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "base/check.h"
#include "kernels/quantised_blocks.h"

namespace coppice::models {
namespace {

// Elements that are converted at a time: their f32 form stays in the first-level cache. A multiple of every block's
// columns.
constexpr std::int64_t kPiece = 4096;

// Columns [begin, begin + count) of a row. REQUIRES: a block begins there.
void to_float(const kernels::HostWeight& row, std::int64_t begin, std::size_t count, float* target) {
  const std::byte* const first = row.bytes.data() + row.format.bytes(1, begin);
  const std::optional<kernels::ComputeType> type = kernels::dense_type(row.format);
  if (!type) {
    kernels::dequantize(row, begin, std::span(target, count));
    return;
  }
  const auto* halves = static_cast<const std::uint16_t*>(static_cast<const void*>(first));
  switch (*type) {
    case kernels::ComputeType::kF32:
      std::memcpy(target, first, count * sizeof(float));
      return;
    case kernels::ComputeType::kBF16:
      std::transform(halves, halves + count, target, bf16_to_float);
      return;
    case kernels::ComputeType::kF16:
      std::transform(halves, halves + count, target, f16_to_float);
      return;
  }
}

// Whether all bits of `exponent` are set in one of the elements. Without an early exit: so the loop is vectorised.
template <typename Bits>
bool has_full_exponent(std::span<const std::byte> elements, Bits exponent) {
  const auto* bits = static_cast<const Bits*>(static_cast<const void*>(elements.data()));
  Bits found = 0;
  for (std::size_t i = 0; i < elements.size() / sizeof(Bits); ++i) {
    found |= static_cast<Bits>((bits[i] & exponent) == exponent ? 1 : 0);
  }
  return found != 0;
}

void from_float(std::span<const float> numbers, kernels::ComputeType type, std::byte* target) {
  auto* halves = static_cast<std::uint16_t*>(static_cast<void*>(target));
  switch (type) {
    case kernels::ComputeType::kF32:
      std::memcpy(target, numbers.data(), numbers.size_bytes());
      return;
    case kernels::ComputeType::kBF16:
      std::transform(numbers.begin(), numbers.end(), halves, float_to_bf16);
      return;
    case kernels::ComputeType::kF16:
      std::transform(numbers.begin(), numbers.end(), halves, kernels::float_to_f16);
      return;
  }
}

}  // namespace

void convert_to_float(const kernels::HostWeight& source, std::span<float> target) {
  convert(source, kernels::ComputeType::kF32, std::as_writable_bytes(target));
}

void convert(const kernels::HostWeight& source, kernels::ComputeType type, std::span<std::byte> target) {
  const std::size_t width = kernels::element_bytes(type);
  COPPICE_CHECK(target.size() == static_cast<std::size_t>(source.rows * source.columns) * width,
                "the target's size is not the weight's");
  if (source.format == kernels::dense_format(type)) {
    std::copy(source.bytes.begin(), source.bytes.end(), target.begin());
    return;
  }
  std::array<float, kPiece> numbers;
  std::byte* out = target.data();
  for (std::int64_t row = 0; row < source.rows; ++row) {
    const kernels::HostWeight from = source.rows_from(row, 1);
    for (std::int64_t column = 0; column < source.columns; column += kPiece) {
      const auto count = static_cast<std::size_t>(std::min(kPiece, source.columns - column));
      to_float(from, column, count, numbers.data());
      from_float(std::span(numbers).first(count), type, out);
      out += count * width;
    }
  }
}

bool has_non_finite(kernels::WeightFormat format, std::span<const std::byte> elements) {
  const std::optional<kernels::ComputeType> type = kernels::dense_type(format);
  if (!type) {
    return kernels::has_non_finite_scale(format, elements);
  }
  switch (*type) {
    case kernels::ComputeType::kF32:
      return has_full_exponent(elements, 0x7F800000U);
    case kernels::ComputeType::kBF16:
      return has_full_exponent(elements, std::uint16_t{0x7F80});
    case kernels::ComputeType::kF16:
      return has_full_exponent(elements, std::uint16_t{0x7C00});
  }
  return false;
}

}  // namespace coppice::models
