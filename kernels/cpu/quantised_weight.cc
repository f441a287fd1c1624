// Packing of quantised weights, a panel of 32 output features at a time: take a chunk of each feature apart, then write
// the fields of its scales and interleave the bits.
#include "kernels/cpu/quantised_weight.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>

#include "absl/status/status.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/packed_weight.h"
#include "kernels/float16.h"
#include "kernels/host/parallel.h"
#include "kernels/host/quantised_row.h"
#include "kernels/quantised_blocks.h"

namespace coppice::kernels::cpu {

namespace {

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
      return {QuantisedKind::k8Half, ScaleKind::kHalf, 8, 128};
    case WeightKind::kQ4_K:
      return {QuantisedKind::k4SuperPair, ScaleKind::kSuperPair, 4, 0};
    case WeightKind::kQ5_K:
      return {QuantisedKind::k5SuperPair, ScaleKind::kSuperPair, 5, 0};
    case WeightKind::kQ6_K:
      return {QuantisedKind::k6Super, ScaleKind::kSuper, 6, 32};
    case WeightKind::kInt8:
      return {QuantisedKind::k8Float, ScaleKind::kFloat, 8, 128};
    case WeightKind::kInt4:
      return {QuantisedKind::k4FloatPair, ScaleKind::kFloatPair, 4, 0};
    case WeightKind::kF32:
    case WeightKind::kBF16:
    case WeightKind::kF16:
    case WeightKind::kFp8:
      break;
  }
  COPPICE_CHECK(false, "a quantised format");
  return {};
}

// Whether all scales are float16 numbers and every least is -8 of its scales: zero is the middle of 16 numbers.
bool is_half_scaled(std::span<const float> pairs) {
  for (std::size_t i = 0; i < pairs.size(); i += 2) {
    const float scale = pairs[i];
    if (f16_to_float(float_to_f16(scale)) != scale || pairs[i + 1] != -8.0F * scale) {
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

// --- writing ---

template <typename Field>
void put_field(std::byte* scales, std::int64_t field, std::int64_t lane, Field value) {
  std::memcpy(scales + (field * kQuantisedPanel + lane) * static_cast<std::int64_t>(sizeof(Field)), &value,
              sizeof(Field));
}

void put_scales(ScaleKind kind, const QuantisedChunk& row, std::int64_t lane, std::byte* scales) {
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
  if (!is_quantised(storage) || storage.kind == WeightKind::kFp8) {
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
    QuantisedRowReader reader(storage, context.isa);
    for (std::int64_t panel = first; panel < last; ++panel) {
      for (std::int64_t lane = 0; lane < kQuantisedPanel; ++lane) {
        reader.begin(source_row(parts, panel * kQuantisedPanel + lane));
        std::byte* at = packed + panel * layout.panel_bytes();
        for (std::int64_t begin = 0; begin < layout.columns(); begin += layout.chunk) {
          const std::int64_t width = std::min(layout.chunk, layout.columns() - begin);
          const QuantisedChunk row = reader.chunk(begin, width);
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
