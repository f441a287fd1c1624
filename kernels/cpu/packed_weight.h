// Weights in the order in which matrix products read them: panels of `width` output features, each panel [steps][width]
// words, the panels one after the other. A word is one f32 (steps = in_features) or two bf16 that one instruction
// multiplies (features 2s and 2s + 1). This is oneDNN's layout BA16a<width>b (f32) or BA16a<width>b2a (bf16): steps are
// padded with zeros to a multiple of 16, the last panel to its width.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/host/isa.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cpu {

// Plain numbers; immutable.
struct PanelLayout {
  ComputeType type = ComputeType::kF32;  // of the words' numbers: f32 or bf16
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  std::int64_t width = 64;  // 16, 32, 48 or 64

  std::int64_t per_word() const { return static_cast<std::int64_t>(sizeof(std::uint32_t) / element_bytes(type)); }
  // Words per output feature that hold input features; with the padding.
  std::int64_t steps() const { return (in_features + per_word() - 1) / per_word(); }
  std::int64_t padded_steps() const { return (steps() + 15) / 16 * 16; }
  std::int64_t panels() const { return (out_features + width - 1) / width; }
  std::int64_t panel_words() const { return padded_steps() * width; }
  std::size_t bytes() const { return static_cast<std::size_t>(panels() * panel_words()) * sizeof(std::uint32_t); }
};

// Returns the weights of output feature `row` of the stacked parts; empty beyond the last one.
HostWeight source_row(std::span<const HostWeight> parts, std::int64_t row);

// Stacks `parts` by rows, converts them to the layout's type and packs them with all threads. REQUIRES: each part has
// layout.in_features columns; their rows add up to layout.out_features. ERRORS: ResourceExhausted.
absl::StatusOr<Buffer> pack_panels(const CpuContext& context, std::span<const HostWeight> parts,
                                   const PanelLayout& layout);

}  // namespace coppice::kernels::cpu
