// Packing of quantised weights, a panel of 32 output features at a time: take a chunk of each feature apart, then write
// the fields of its scales and interleave the bits.
#include "kernels/cpu/quantised_weight.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/packed_weight.h"
#include "kernels/float16.h"
#include "kernels/host/convert_body.h"
#include "kernels/host/parallel.h"
#include "kernels/quantised_blocks.h"

namespace coppice::kernels::cpu {

namespace {

constexpr std::int32_t kInt4Zero = 8;    // what 0 is stored as: the middle of 16 numbers
constexpr std::int32_t kInt8Zero = 128;  // the middle of 256
constexpr float kHalfMost = 60000.0F;    // of a weight in 4 bits: its group's least is a float16, which ends at 65,504
constexpr float kInt8Most = 127.0F;      // of a number: both signs alike

// A chunk of one feature taken apart. Of the scales only those are used that the kind has.
struct ChunkRow {
  BlockParts parts;
  float scale = 0;
  float least = 0;
};

struct Kind {
  QuantisedKind kind;
  ScaleKind scales;
  std::int32_t bits;
  std::int32_t zero;
};

// REQUIRES: a format of GGUF.
Kind kind_of(WeightKind kind) {
  switch (kind) {
    case WeightKind::kQ4_0:
      return {QuantisedKind::k4Half, ScaleKind::kHalf, 4, 8};
    case WeightKind::kQ4_1:
      return {QuantisedKind::k4HalfPair, ScaleKind::kHalfPair, 4, 0};
    case WeightKind::kQ5_0:
      return {QuantisedKind::k5Half, ScaleKind::kHalf, 5, 16};
    case WeightKind::kQ5_1:
      return {QuantisedKind::k5HalfPair, ScaleKind::kHalfPair, 5, 0};
    case WeightKind::kQ8_0:
      return {QuantisedKind::k8Half, ScaleKind::kHalf, 8, kInt8Zero};
    case WeightKind::kQ4_K:
      return {QuantisedKind::k4SuperPair, ScaleKind::kSuperPair, 4, 0};
    case WeightKind::kQ5_K:
      return {QuantisedKind::k5SuperPair, ScaleKind::kSuperPair, 5, 0};
    case WeightKind::kQ6_K:
      return {QuantisedKind::k6Super, ScaleKind::kSuper, 6, 32};
    case WeightKind::kInt8:
      return {QuantisedKind::k8Float, ScaleKind::kFloat, 8, kInt8Zero};
    case WeightKind::kInt4:
      return {QuantisedKind::k4FloatPair, ScaleKind::kFloatPair, 4, 0};
    case WeightKind::kF32:
    case WeightKind::kBF16:
    case WeightKind::kF16:
      break;
  }
  COPPICE_CHECK(false, "a quantised format");
  return {};
}

// Whether all scales are float16 numbers and every least is -8 of its scales.
bool is_half_scaled(std::span<const float> pairs) {
  for (std::size_t i = 0; i < pairs.size(); i += 2) {
    const float scale = pairs[i];
    if (f16_to_float(float_to_f16(scale)) != scale || pairs[i + 1] != -static_cast<float>(kInt4Zero) * scale) {
      return false;
    }
  }
  return true;
}

QuantisedLayout layout_of(std::span<const HostWeight> parts, WeightFormat storage) {
  Kind kind = kind_of(storage.kind);
  if (storage.kind == WeightKind::kInt4) {
    const auto is_own = [storage](const HostWeight& part) { return part.format != storage; };
    if (std::ranges::all_of(parts, is_own)) {
      kind = kind_of(WeightKind::kQ4_1);
    } else if (std::ranges::all_of(
                   parts, [&](const HostWeight& part) { return !is_own(part) && is_half_scaled(part.scales); })) {
      kind = kind_of(WeightKind::kQ4_0);
    }
  }
  QuantisedLayout layout{.kind = kind.kind, .scales = kind.scales, .bits = kind.bits, .zero = kind.zero};
  if (storage.kind == WeightKind::kInt8 || storage.kind == WeightKind::kInt4) {
    layout.group = storage.group == 0 ? kQuantisedChunk : std::min<std::int64_t>(storage.group, kQuantisedChunk);
  }
  layout.chunk = layout.group;
  if (layout.scales == ScaleKind::kSuper || layout.scales == ScaleKind::kSuperPair) {
    layout.chunk = kQuantisedChunk;
  }
  if (layout.scales == ScaleKind::kSuper) {
    layout.group = 16;
    layout.unit = 16;
  }
  layout.in_features = parts.front().columns;
  for (const HostWeight& part : parts) {
    layout.out_features += part.rows;
  }
  return layout;
}

// --- quantising ---

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
  std::array<float, 4> sums = {};  // side by side, so that the loop is vector code
  for (std::size_t i = 0; i + sums.size() <= numbers.size(); i += sums.size()) {
    for (std::size_t lane = 0; lane < sums.size(); ++lane) {
      const float number = numbers[i + lane];
      const float bits = four_bits_of((number - form.least) * inverse);
      const float difference = number - (form.scale * bits + form.least);
      sums[lane] += difference * difference;
    }
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

// --- one feature's chunk ---

class RowReader {
 public:
  RowReader(WeightFormat storage, const CpuContext& context)
      : storage_(storage), convert_(COPPICE_SELECT_BODY(context.isa, convert_body)) {}

  // Begins with another row; empty: zeros.
  void begin(const HostWeight& row) {
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

  // Whether a row so far had numbers that 4 bits with float16 scales cannot hold.
  bool is_beyond_half() const { return is_beyond_half_; }

  // Columns [begin, begin + width), a chunk's; zeros beyond the row's.
  ChunkRow chunk(std::int64_t begin, std::int64_t width) const {
    ChunkRow out;
    const std::int64_t count = std::clamp<std::int64_t>(row_.columns - begin, 0, width);
    if (row_.empty() || count == 0) {
      return out;
    }
    if (storage_.kind != WeightKind::kInt8 && storage_.kind != WeightKind::kInt4) {
      out.parts = take_apart(row_, begin, count);
    } else if (row_.format == storage_) {
      take_whole_numbers(begin, count, out);
    } else {
      quantise(begin, count, out);
    }
    return out;
  }

 private:
  static float scale_of(std::span<const float> numbers) {
    float largest = 0;
    for (const float number : numbers) {
      largest = std::max(largest, std::fabs(number));
    }
    return largest / kInt8Most;
  }

  void take_whole_numbers(std::int64_t begin, std::int64_t count, ChunkRow& out) const {
    const bool is_int4 = storage_.kind == WeightKind::kInt4;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t column = begin + i;
      std::uint32_t bits = 0;
      if (is_int4) {
        const auto pair = static_cast<std::uint32_t>(row_.bytes[static_cast<std::size_t>(column / 2)]);
        bits = column % 2 == 0 ? pair & 0xFU : pair >> 4U;
      } else {
        bits = static_cast<std::uint32_t>(row_.bytes[static_cast<std::size_t>(column)]) ^ 0x80U;
      }
      out.parts.bits[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(bits);
    }
    const std::int64_t group = storage_.group == 0 ? 0 : begin / storage_.group;
    const auto from = static_cast<std::size_t>(is_int4 ? 2 * group : group);
    out.scale = row_.scales[from];
    out.least = is_int4 ? row_.scales[from + 1] : 0.0F;
    out.parts.scales[0] = float_to_f16(out.scale);
  }

  void quantise(std::int64_t begin, std::int64_t count, ChunkRow& out) const {
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
    const float inverse = out.scale == 0 ? 0 : 1 / out.scale;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const float whole = std::clamp(std::nearbyint(numbers[i] * inverse), -kInt8Most, kInt8Most);
      bits[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(whole) + kInt8Zero);
    }
  }

  const WeightFormat storage_;
  const ConvertBody& convert_;
  HostWeight row_;
  std::vector<float> numbers_;  // of a row that is not stored in the format
  float row_scale_ = 0;
  bool is_beyond_half_ = false;
};

// --- writing ---

template <typename Field>
void put_field(std::byte* scales, std::int64_t field, std::int64_t lane, Field value) {
  std::memcpy(scales + (field * kQuantisedPanel + lane) * static_cast<std::int64_t>(sizeof(Field)), &value,
              sizeof(Field));
}

void put_scales(ScaleKind kind, const ChunkRow& row, std::int64_t lane, std::byte* scales) {
  const BlockParts& parts = row.parts;
  switch (kind) {
    case ScaleKind::kHalf:
      put_field(scales, 0, lane, parts.scales[0]);
      return;
    case ScaleKind::kHalfPair:
      put_field(scales, 0, lane, parts.scales[0]);
      put_field(scales, 1, lane, parts.leasts[0]);
      return;
    case ScaleKind::kFloat:
      put_field(scales, 0, lane, row.scale);
      return;
    case ScaleKind::kFloatPair:
      put_field(scales, 0, lane, row.scale);
      put_field(scales, 1, lane, row.least);
      return;
    case ScaleKind::kSuperPair:
      put_field(scales, 0, lane, parts.scales[0]);
      put_field(scales, 1, lane, parts.leasts[0]);
      for (std::int64_t group = 0; group < 8; ++group) {
        put_field(scales + 4 * kQuantisedPanel, group, lane, parts.sub_scales[static_cast<std::size_t>(group)]);
        put_field(scales + 4 * kQuantisedPanel, 8 + group, lane, parts.sub_leasts[static_cast<std::size_t>(group)]);
      }
      return;
    case ScaleKind::kSuper:
      put_field(scales, 0, lane, parts.scales[0]);
      for (std::int64_t group = 0; group < 16; ++group) {
        put_field(scales + 2 * kQuantisedPanel, group, lane, parts.sub_scales[static_cast<std::size_t>(group)]);
      }
      return;
  }
}

void put_word(std::byte* lines, std::int64_t line, std::int64_t lane, std::uint32_t word) {
  put_field(lines, line, lane, word);
}

// One block of 32 columns.
void put_bits(int bits, const std::uint8_t* numbers, std::int64_t lane, std::byte* lines) {
  if (bits == 8) {
    for (std::int64_t line = 0; line < 8; ++line) {
      std::uint32_t word = 0;
      std::memcpy(&word, numbers + 4 * line, sizeof word);  // column 4 s + j in byte j: little-endian
      put_word(lines, line, lane, word);
    }
    return;
  }
  for (std::int64_t line = 0; line < 4; ++line) {
    std::uint32_t word = 0;
    for (std::uint32_t j = 0; j < 4; ++j) {
      const std::uint32_t low = numbers[8 * line + j] & 0xFU;
      const std::uint32_t high = numbers[8 * line + 4 + j] & 0xFU;
      word |= (low | high << 4U) << (8 * j);
    }
    put_word(lines, line, lane, word);
  }
  if (bits == 5) {
    std::uint32_t word = 0;
    for (std::uint32_t column = 0; column < 32; ++column) {
      word |= (numbers[column] >> 4U & 1U) << (8 * (column % 4) + column / 4);
    }
    put_word(lines, 4, lane, word);
  }
  if (bits == 6) {
    for (std::int64_t half = 0; half < 2; ++half) {
      std::uint32_t word = 0;
      for (std::uint32_t column = 0; column < 16; ++column) {
        word |= (numbers[16 * half + column] >> 4U & 3U) << (8 * (column % 4) + 2 * (column / 4));
      }
      put_word(lines, 4 + half, lane, word);
    }
  }
}

}  // namespace

bool packs_quantised(WeightFormat storage) {
  if (!is_quantised(storage)) {
    return false;
  }
  const std::int64_t group = storage.group;
  return group == 0 || (group >= kQuantisedBlock && group % kQuantisedBlock == 0 &&
                        (kQuantisedChunk % group == 0 || group % kQuantisedChunk == 0));
}

absl::StatusOr<QuantisedPanels> pack_quantised(const CpuContext& context, std::span<const HostWeight> parts,
                                               WeightFormat storage) {
  QuantisedPanels out{.layout = layout_of(parts, storage), .packed = {}};
  const QuantisedLayout& layout = out.layout;
  COPPICE_ASSIGN_OR_RETURN(out.packed,
                           allocate_uninitialized(static_cast<std::size_t>(layout.panels() * layout.panel_bytes())));
  auto* const packed = static_cast<std::byte*>(out.packed.data());
  std::atomic<bool> is_beyond_half = false;
  parallel_for(context.threads, layout.panels(), 1, [&](std::int64_t first, std::int64_t last) {
    RowReader reader(storage, context);
    for (std::int64_t panel = first; panel < last; ++panel) {
      for (std::int64_t lane = 0; lane < kQuantisedPanel; ++lane) {
        reader.begin(source_row(parts, panel * kQuantisedPanel + lane));
        std::byte* at = packed + panel * layout.panel_bytes();
        for (std::int64_t begin = 0; begin < layout.columns(); begin += layout.chunk) {
          const std::int64_t width = std::min(layout.chunk, layout.columns() - begin);
          const ChunkRow row = reader.chunk(begin, width);
          put_scales(layout.scales, row, lane, at);
          std::byte* const numbers = at + quantised_scale_bytes(layout.scales);
          for (std::int64_t block = 0; block < width; block += kQuantisedBlock) {
            put_bits(layout.bits, row.parts.bits.data() + block, lane,
                     numbers + quantised_number_bytes(layout.bits, block));
          }
          at += layout.chunk_bytes(width);
        }
      }
    }
    if (reader.is_beyond_half()) {
      is_beyond_half = true;
    }
  });
  if (is_beyond_half) {
    return absl::InvalidArgumentError("a weight is beyond 60,000, too large for 4 bits; use --quant int8");
  }
  return out;
}

}  // namespace coppice::kernels::cpu
