// Blocks of rows times panels, shared out to the team.
#include "kernels/cpu/matmul.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "kernels/cpu/elementwise_body.h"
#include "kernels/cpu/matmul_body.h"
#include "kernels/host/parallel.h"

namespace coppice::kernels::cpu {

namespace {

// A block's rows by kStepBlock words of input (48 KiB) and a panel by as many words (64 KiB) stay in a second-level
// cache while every row meets every word; the sums (12 KiB) are in the first.
constexpr std::int64_t kBlockRows = 48;
constexpr std::int64_t kStepBlock = 256;
// Fewer multiply-adds than this a thread are not worth waking it for.
constexpr std::int64_t kGrain = 64 * 1024;

}  // namespace

void PanelMatmul::run(const Matrix& in, const PanelLayout& layout, const void* words, const float* bias,
                      LinearEpilogue epilogue, const Matrix& out) {
  const MatmulBody& body = COPPICE_SELECT_BODY(context_.isa, matmul_body);
  PanelTask whole{.in = static_cast<const float*>(in.data), .in_stride = in.stride};
  if (in.dtype == ComputeType::kBF16) {
    whole.in_stride = layout.steps() * layout.per_word();
    in_f32_.assign(static_cast<std::size_t>(in.rows * whole.in_stride), 0.0F);
    whole.in = in_f32_.data();
    const ElementwiseBody& convert = COPPICE_SELECT_BODY(context_.isa, elementwise_body);
    for (std::int64_t row = 0; row < in.rows; ++row) {
      convert.to_f32(static_cast<const std::uint16_t*>(in.data) + row * in.stride, dense_format(in.dtype), in.columns,
                     in_f32_.data() + row * whole.in_stride);
    }
  }
  const auto run_panel = layout.type == ComputeType::kF32 ? body.panel_f32 : body.panel_bf16;
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
      const std::int64_t column = panel * kPanel;
      for (std::int64_t row = 0; row < task.rows; ++row) {
        std::byte* target = static_cast<std::byte*>(out.data) + out.offset(row_begin + row, column);
        body.finish(sums.data() + row * kPanel, bias == nullptr ? nullptr : bias + column,
                    epilogue == LinearEpilogue::kAdd, std::min(kPanel, out.columns - column), target, out.dtype);
      }
    }
  });
}

}  // namespace coppice::kernels::cpu
