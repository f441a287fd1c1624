// Panels and rows shared out to the team; the work on one panel is linear_body.cc.
#include "kernels/cpu/step_matmul.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/linear_body.h"
#include "kernels/cpu/panel_output.h"
#include "kernels/host/parallel.h"

namespace coppice::kernels::cpu {

namespace {

// Returns how many rows meet a panel at once: all of them, unless a panel for each of two turns of the team is wanting;
// then the rows are cut too, at whole tiles.
std::int64_t block_rows(std::int64_t rows, std::int64_t panels, int threads) {
  const std::int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  const std::int64_t wanted = (std::int64_t{2} * threads + panels - 1) / panels;
  const std::int64_t blocks = std::clamp<std::int64_t>(wanted, 1, tiles);
  return (tiles + blocks - 1) / blocks * kTileRows;
}

}  // namespace

bool StepMatmul::takes(const Matrix& in, const PanelLayout& layout) const {
  const bool whole_words = in.columns % layout.per_word() == 0 &&
                           (in.rows == 1 || in.stride % layout.per_word() == 0) &&
                           reinterpret_cast<std::uintptr_t>(in.data) % alignof(std::uint32_t) == 0;
  return context_.isa == Isa::kAvx512Bf16 && layout.type == ComputeType::kBF16 && in.rows <= kStepRows && whole_words;
}

void StepMatmul::run(const Matrix& in, const PanelLayout& layout, const void* words, std::int64_t chain,
                     const float* bias, LinearEpilogue epilogue, const Matrix& out) const {
  const LinearBody& body = COPPICE_SELECT_BODY(context_.isa, linear_body);
  const std::int64_t rows = block_rows(in.rows, layout.panels(), context_.threads);
  const std::int64_t blocks = (in.rows + rows - 1) / rows;
  const auto panel_bytes = static_cast<std::int64_t>(layout.panel_words() * std::int64_t{sizeof(std::uint32_t)});
  parallel_rows(context_.threads, layout.panels() * blocks, panel_bytes, [&](std::int64_t begin, std::int64_t end) {
    std::array<float, kStepRows * kPanel> sums;
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t panel = item / blocks;
      const std::int64_t row_begin = item % blocks * rows;
      const StepTask task{.in = static_cast<const std::uint32_t*>(in.data) + row_begin * in.stride / layout.per_word(),
                          .in_stride = in.stride / layout.per_word(),
                          .rows = std::min(rows, in.rows - row_begin),
                          .words = static_cast<const std::uint32_t*>(words) + panel * layout.panel_words(),
                          .more = panel < (end - 1) / blocks,
                          .width = layout.width,
                          .steps = layout.steps(),
                          .chain = chain,
                          .out = sums.data()};
      const PanelOutput output(out, bias, epilogue, row_begin, task.rows, panel * layout.width, layout.width);
      output.fetch();
      body.step_bf16(task);
      output.write(body, sums.data(), kPanel);
    }
  });
}

}  // namespace coppice::kernels::cpu
