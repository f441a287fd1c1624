// Quantising and taking apart (quantised_row.h).
#include "kernels/host/quantised_row.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>

#include "kernels/float16.h"

namespace coppice::kernels {

namespace {

constexpr std::int32_t kInt8Zero = 128;  // what 0 is stored as: the middle of 256
constexpr float kHalfMost = 60000.0F;    // of a weight in 4 bits: its group's least is a float16, which ends at 65,504
constexpr float kInt8Most = 127.0F;      // of a number: both signs alike
// Numbers with a smaller scale count as zeros: its inverse may be infinite, and infinity times 0 is no number.
constexpr float kSmallestScale = std::numeric_limits<float>::min();

// A group as scale · bits + least, both float16 numbers.
struct FourBits {
  float scale = 0;
  float least = 0;
};

// The nearest whole number in [0, 15]; a loop of it becomes vector code on every machine.
inline float four_bits_of(float steps) {
  constexpr float kRounding = 0x1.8p23F;  // adding it rounds to whole numbers, ties to even
  const float most = steps < 15.0F ? steps : 15.0F;
  const float clamped = most > 0.0F ? most : 0.0F;
  return (clamped + kRounding) - kRounding;
}

// Squared error of a group.
float squared_error(std::span<const float> numbers, FourBits form) {
  const float inverse = 1 / form.scale;
  const auto square_of = [&](float number) {
    const float bits = four_bits_of((number - form.least) * inverse);
    const float difference = number - (form.scale * bits + form.least);
    return difference * difference;
  };
  std::array<float, 4> sums = {};  // side by side, so that the loop is vector code
  std::size_t i = 0;
  for (; i + sums.size() <= numbers.size(); i += sums.size()) {
    for (std::size_t lane = 0; lane < sums.size(); ++lane) {
      sums[lane] += square_of(numbers[i + lane]);
    }
  }
  for (std::size_t lane = 0; i < numbers.size(); ++i, ++lane) {  // a row's last group may have any size
    sums[lane] += square_of(numbers[i]);
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

FourBits rounded(float scale, float least) {
  return {f16_to_float(float_to_f16(scale)), f16_to_float(float_to_f16(least))};
}

// The scale and the least that fit a group's bits best (linear regression).
FourBits fitted(std::span<const float> numbers, FourBits form) {
  const float inverse = 1 / form.scale;
  const auto count = static_cast<float>(numbers.size());
  float bits_sum = 0;
  float squares = 0;
  float sum = 0;
  float products = 0;
  for (const float number : numbers) {
    const float bits = four_bits_of((number - form.least) * inverse);
    bits_sum += bits;
    squares += bits * bits;
    sum += number;
    products += bits * number;
  }
  const float spread = count * squares - bits_sum * bits_sum;
  if (spread <= 0) {
    return form;
  }
  const float scale = (count * products - bits_sum * sum) / spread;
  return rounded(scale, (sum - scale * bits_sum) / count);
}

bool is_usable(FourBits form) {
  return form.scale != 0 && std::isfinite(form.scale) && std::isfinite(form.least);
}

// Quantises a group: tries ranges from all of its numbers to seven tenths of that, refits the best, and keeps what has
// the least squared error.
FourBits quantise_group(std::span<const float> numbers, std::uint8_t* bits) {
  const auto [low, high] = std::ranges::minmax(numbers);
  FourBits best = rounded(0, low);
  float best_error = std::numeric_limits<float>::infinity();
  const auto consider = [&](FourBits form) {
    const float error = is_usable(form) ? squared_error(numbers, form) : best_error;
    if (error < best_error) {
      best = form;
      best_error = error;
    }
  };
  constexpr int kTries = 4;        // down to seven tenths
  constexpr float kShrink = 0.1F;  // of the range, a try
  for (int i = 0; i < kTries; ++i) {
    const float share = 1 - kShrink * static_cast<float>(i);
    consider(rounded((high - low) * share / 15.0F, low * share));
  }
  if (is_usable(best)) {
    consider(fitted(numbers, best));
  }
  const float inverse = best.scale == 0 ? 0 : 1 / best.scale;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    bits[i] = static_cast<std::uint8_t>(four_bits_of((numbers[i] - best.least) * inverse));
  }
  return best;
}

float scale_of(std::span<const float> numbers) {
  float largest = 0;
  for (const float number : numbers) {
    largest = std::max(largest, std::fabs(number));
  }
  return largest / kInt8Most;
}

}  // namespace

QuantisedRowReader::QuantisedRowReader(WeightFormat storage, cpu::Isa isa)
    : storage_(storage), convert_(COPPICE_SELECT_BODY(isa, convert_body)) {}

void QuantisedRowReader::begin(const HostWeight& row) {
  row_ = row;
  if (row.empty() || row.format == storage_) {
    return;
  }
  numbers_.resize(static_cast<std::size_t>(row.columns));
  if (const std::optional<ComputeType> dense = dense_type(row.format)) {
    convert_.to_f32(row.bytes.data(), *dense, row.columns, numbers_.data());
  } else {
    dequantize(row, 0, numbers_);
  }
  if (storage_.kind == WeightKind::kInt4) {
    is_beyond_half_ =
        is_beyond_half_ || std::ranges::any_of(numbers_, [](float number) { return std::fabs(number) > kHalfMost; });
  }
  if (storage_.kind == WeightKind::kInt8 && storage_.group == 0) {
    row_scale_ = scale_of(numbers_);
  }
}

QuantisedChunk QuantisedRowReader::chunk(std::int64_t begin, std::int64_t width) const {
  QuantisedChunk out;
  const std::int64_t count = std::clamp<std::int64_t>(row_.columns - begin, 0, width);
  if (row_.empty() || count == 0) {
    return out;
  }
  if (!has_scales_beside(storage_.kind)) {
    out.parts = take_apart(row_, begin, count);
  } else if (row_.format == storage_) {
    take_numbers(begin, count, out);
  } else {
    quantise(begin, count, out);
  }
  return out;
}

void QuantisedRowReader::take_numbers(std::int64_t begin, std::int64_t count, QuantisedChunk& out) const {
  const bool is_int4 = storage_.kind == WeightKind::kInt4;
  const std::uint32_t flipped = storage_.kind == WeightKind::kInt8 ? 0x80U : 0U;  // adds 128 to a signed byte
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t column = begin + i;
    std::uint32_t bits = 0;
    if (is_int4) {
      const auto pair = static_cast<std::uint32_t>(row_.bytes[static_cast<std::size_t>(column / 2)]);
      bits = column % 2 == 0 ? pair & 0xFU : pair >> 4U;
    } else {
      bits = static_cast<std::uint32_t>(row_.bytes[static_cast<std::size_t>(column)]) ^ flipped;
    }
    out.parts.bits[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(bits);
  }
  const std::int64_t group = storage_.group == 0 ? 0 : begin / storage_.group;
  const auto from = static_cast<std::size_t>(is_int4 ? 2 * group : group);
  out.scale = row_.scales[from];
  out.least = is_int4 ? row_.scales[from + 1] : 0.0F;
  out.parts.scales[0] = float_to_f16(out.scale);
}

void QuantisedRowReader::quantise(std::int64_t begin, std::int64_t count, QuantisedChunk& out) const {
  const std::span<const float> numbers =
      std::span(numbers_).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
  std::uint8_t* const bits = out.parts.bits.data();
  if (storage_.kind == WeightKind::kInt4) {
    const FourBits form = quantise_group(numbers, bits);
    out.scale = form.scale;
    out.least = form.least;
    out.parts.scales[0] = float_to_f16(form.scale);
    out.parts.leasts[0] = float_to_f16(form.least);
    return;
  }
  out.scale = storage_.group == 0 ? row_scale_ : scale_of(numbers);
  const float inverse = out.scale < kSmallestScale ? 0 : 1 / out.scale;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const float whole = std::clamp(std::nearbyint(numbers[i] * inverse), -kInt8Most, kInt8Most);
    bits[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(whole) + kInt8Zero);
  }
}

}  // namespace coppice::kernels
