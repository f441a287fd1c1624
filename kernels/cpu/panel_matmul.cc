// Rows and panels shared out to the team; the work on one panel is linear_body.cc.
#include "kernels/cpu/panel_matmul.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "base/check.h"
#include "kernels/cpu/linear_body.h"
#include "kernels/cpu/panel_output.h"
#include "kernels/host/convert_body.h"
#include "kernels/host/parallel.h"

namespace coppice::kernels::cpu {

namespace {

// A block's rows by kStepBlock words of input (48 KiB) and a panel by as many words (64 KiB) stay in a second-level
// cache while every row meets every word; the sums (12 KiB) are in the first.
constexpr std::int64_t kBlockRows = 48;
constexpr std::int64_t kStepBlock = 256;
// Multiply-adds per thread, at least: fewer are not worth waking it. Chosen, not measured.
constexpr std::int64_t kGrain = 64 * 1024;

// The loop over panels of a type. REQUIRES: not f16, which no weight is packed in.
auto panel_of(const LinearBody& body, ComputeType type) {
  switch (type) {
    case ComputeType::kF32:
      return body.panel_f32;
    case ComputeType::kBF16:
      return body.panel_bf16;
    case ComputeType::kF16:
      break;
  }
  COPPICE_CHECK(false, "linear: no panels in f16");
  return body.panel_f32;
}

}  // namespace

void PanelMatmul::run(const Matrix& in, const PanelLayout& layout, const void* words, const float* bias,
                      LinearEpilogue epilogue, const Matrix& out) {
  const LinearBody& body = COPPICE_SELECT_BODY(context_.isa, linear_body);
  PanelTask whole{.in = static_cast<const float*>(in.data), .in_stride = in.stride};
  if (in.dtype != ComputeType::kF32) {
    whole.in_stride = layout.steps() * layout.per_word();
    in_f32_.assign(static_cast<std::size_t>(in.rows * whole.in_stride), 0.0F);
    whole.in = in_f32_.data();
    const ConvertBody& convert = COPPICE_SELECT_BODY(context_.isa, convert_body);
    for (std::int64_t row = 0; row < in.rows; ++row) {
      convert.to_f32(static_cast<const std::uint16_t*>(in.data) + row * in.stride, in.dtype, in.columns,
                     in_f32_.data() + row * whole.in_stride);
    }
  }
  const auto run_panel = panel_of(body, layout.type);
  const std::int64_t blocks = (in.rows + kBlockRows - 1) / kBlockRows;
  const std::int64_t task_cost = std::min(in.rows, kBlockRows) * layout.in_features * layout.width;
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, task_cost));
  parallel_for(context_.threads, layout.panels() * blocks, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t index = begin; index < end; ++index) {
      const std::int64_t panel = index / blocks;
      const std::int64_t row_begin = index % blocks * kBlockRows;
      std::array<float, kBlockRows* kPanel> sums = {};
      PanelTask task = whole;
      task.in += row_begin * task.in_stride;
      task.rows = std::min(kBlockRows, in.rows - row_begin);
      task.words = static_cast<const std::uint32_t*>(words) + panel * layout.panel_words();
      task.out = sums.data();
      for (std::int64_t step = 0; step < layout.steps(); step += kStepBlock) {
        task.step_begin = step;
        task.step_end = std::min(layout.steps(), step + kStepBlock);
        run_panel(task);
      }
      const PanelOutput output(out, bias, epilogue, row_begin, task.rows, panel * kPanel, kPanel);
      output.write(body, sums.data(), kPanel);
    }
  });
}

}  // namespace coppice::kernels::cpu
