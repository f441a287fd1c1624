// Packing of weights, a group of sixteen output features at a time: convert a run of each of the sixteen rows into
// a small buffer (where the type differs or the row ends in half a word), then interleave the rows.
#include "kernels/cpu/packed_weight.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <optional>

#include "base/check.h"
#include "kernels/cpu/linear_body.h"
#include "kernels/cpu/memory.h"
#include "kernels/host/convert_body.h"
#include "kernels/host/parallel.h"
#include "kernels/quantised_blocks.h"

namespace coppice::kernels::cpu {

namespace {

constexpr std::int64_t kGroup = 16;  // output features that linear_body interleaves at once: the lanes of a vector
// Words of a row that are packed at once: sixteen such runs are 16 KiB, half an L1 cache.
constexpr std::int64_t kRunWords = 256;

using Runs = std::array<std::array<std::uint32_t, kRunWords>, kGroup>;

class Packer {
 public:
  Packer(const CpuContext& context, const PanelLayout& layout)
      : convert_(COPPICE_SELECT_BODY(context.isa, convert_body)),
        linear_(COPPICE_SELECT_BODY(context.isa, linear_body)),
        layout_(layout) {}

  // Writes words [step_begin, step_begin + count) of sixteen rows to out[step * width + row].
  void pack(const std::array<HostWeight, kGroup>& rows, std::int64_t step_begin, std::int64_t count,
            std::uint32_t* out) const {
    Runs runs;
    std::array<const std::uint32_t*, kGroup> words = {};
    for (std::size_t i = 0; i < kGroup; ++i) {
      words[i] = rows[i].empty() ? nullptr : run_of(rows[i], step_begin, count, runs[i].data());
    }
    linear_.interleave(words.data(), count, layout_.width, out);
  }

 private:
  // Returns a row's words, in the source where they need no conversion, else in `buffer` with zero padding.
  const std::uint32_t* run_of(const HostWeight& row, std::int64_t step_begin, std::int64_t count,
                              std::uint32_t* buffer) const {
    const std::int64_t begin = step_begin * layout_.per_word();
    const std::int64_t numbers = std::clamp<std::int64_t>(layout_.in_features - begin, 0, count * layout_.per_word());
    const std::byte* source = row.bytes.data() + row.format.bytes(1, begin);
    const bool whole = numbers == count * layout_.per_word();
    if (row.format == dense_format(layout_.type) && whole &&
        reinterpret_cast<std::uintptr_t>(source) % sizeof(std::uint32_t) == 0) {
      return reinterpret_cast<const std::uint32_t*>(source);
    }
    if (!whole) {
      std::fill_n(buffer, count, 0U);
    }
    ComputeType type = ComputeType::kF32;
    std::array<float, 2 * kRunWords> widened;
    if (const std::optional<ComputeType> dense = dense_type(row.format)) {
      type = *dense;
    } else {
      dequantize(row, begin, std::span(widened).first(static_cast<std::size_t>(numbers)));
      source = reinterpret_cast<const std::byte*>(widened.data());
    }
    switch (layout_.type) {
      case ComputeType::kF32:
        convert_.to_f32(source, type, numbers, reinterpret_cast<float*>(buffer));
        break;
      case ComputeType::kBF16:
        convert_.to_bf16(source, type, numbers, reinterpret_cast<std::uint16_t*>(buffer));
        break;
      case ComputeType::kF16:
        COPPICE_CHECK(false, "no weight is packed in f16");
    }
    return buffer;
  }

  const ConvertBody& convert_;
  const LinearBody& linear_;
  const PanelLayout& layout_;
};

}  // namespace

HostWeight source_row(std::span<const HostWeight> parts, std::int64_t row) {
  for (const HostWeight& part : parts) {
    if (row < part.rows) {
      return part.rows_from(row, 1);
    }
    row -= part.rows;
  }
  return {};
}

absl::StatusOr<Buffer> pack_panels(const CpuContext& context, std::span<const HostWeight> parts,
                                   const PanelLayout& layout) {
  absl::StatusOr<Buffer> packed = allocate_uninitialized(layout.bytes());
  if (!packed.ok()) {
    return packed;
  }
  auto* words = static_cast<std::uint32_t*>(packed->data());
  const Packer packer(context, layout);
  const std::int64_t panel_bytes = layout.panel_words() * std::int64_t{sizeof(std::uint32_t)};
  parallel_rows(context.threads, layout.panels(), panel_bytes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t panel = begin; panel < end; ++panel) {
      for (std::int64_t group = 0; group < layout.width; group += kGroup) {
        std::array<HostWeight, kGroup> rows;
        for (std::int64_t i = 0; i < kGroup; ++i) {
          rows[static_cast<std::size_t>(i)] = source_row(parts, panel * layout.width + group + i);
        }
        for (std::int64_t step = 0; step < layout.padded_steps(); step += kRunWords) {
          packer.pack(rows, step, std::min(kRunWords, layout.padded_steps() - step),
                      words + panel * layout.panel_words() + step * layout.width + group);
        }
      }
    }
  });
  return packed;
}

}  // namespace coppice::kernels::cpu
