// Panels shared out to the team; the work on one panel is linear_body.cc.
#include "kernels/cpu/narrow_matmul.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/linear_body.h"
#include "kernels/host/parallel.h"

namespace coppice::kernels::cpu {

bool NarrowMatmul::takes(const Matrix& in, const PanelLayout& layout) const {
  const bool whole_words = in.columns % layout.per_word() == 0 &&
                           (in.rows == 1 || in.stride % layout.per_word() == 0) &&
                           reinterpret_cast<std::uintptr_t>(in.data) % alignof(std::uint32_t) == 0;
  return context_.isa == Isa::kAvx512Bf16 && layout.type == ComputeType::kBF16 && in.rows <= kNarrowRows && whole_words;
}

void NarrowMatmul::run(const Matrix& in, const PanelLayout& layout, const void* words, std::int64_t chain,
                       const float* bias, LinearEpilogue epilogue, const Matrix& out) const {
  const LinearBody& body = COPPICE_SELECT_BODY(context_.isa, linear_body);
  const auto panel_bytes = static_cast<std::int64_t>(layout.panel_words() * std::int64_t{sizeof(std::uint32_t)});
  parallel_rows(context_.threads, layout.panels(), panel_bytes, [&](std::int64_t begin, std::int64_t end) {
    std::array<float, kNarrowRows * kPanel> sums;
    for (std::int64_t panel = begin; panel < end; ++panel) {
      body.narrow_bf16({.in = static_cast<const std::uint32_t*>(in.data),
                        .in_stride = in.stride / layout.per_word(),
                        .rows = in.rows,
                        .words = static_cast<const std::uint32_t*>(words) + panel * layout.panel_words(),
                        .width = layout.width,
                        .steps = layout.steps(),
                        .chain = chain,
                        .out = sums.data()});
      const std::int64_t column = panel * layout.width;
      for (std::int64_t row = 0; row < in.rows; ++row) {
        std::byte* target = static_cast<std::byte*>(out.data) + out.offset(row, column);
        body.finish(sums.data() + row * kPanel, bias == nullptr ? nullptr : bias + column,
                    epilogue == LinearEpilogue::kAdd, std::min(layout.width, out.columns - column), target, out.dtype);
      }
    }
  });
}

}  // namespace coppice::kernels::cpu
