// Rows and panels shared out to the team; the work on one panel is quantised_body.cc.
#include "kernels/cpu/quantised_linear.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "kernels/cpu/linear_body.h"
#include "kernels/cpu/panel_output.h"
#include "kernels/host/parallel.h"

namespace coppice::kernels::cpu {

namespace {

// Rows that a panel meets before the next panel: their values (up to 11,008 bytes a row in a 13B model) and the panel
// stay in a second-level cache of 1 MiB. A multiple of the largest tile's rows.
constexpr std::int64_t kBlockRows = 48;
// Products of bytes per thread, at least: fewer are not worth waking it. Chosen, not measured.
constexpr std::int64_t kGrain = 256 * 1024;

}  // namespace

QuantisedRows QuantisedLinear::quantise(const Matrix& in, const QuantisedLayout& layout) {
  QuantisedRows rows{.value_stride = layout.columns(), .unit_stride = layout.units()};
  values_.resize(static_cast<std::size_t>(in.rows * rows.value_stride));
  scales_.resize(static_cast<std::size_t>(in.rows * rows.unit_stride));
  offsets_.resize(static_cast<std::size_t>(in.rows * rows.unit_stride));
  rows.values = values_.data();
  rows.scales = scales_.data();
  rows.offsets = offsets_.data();
  const QuantisedBody& body = COPPICE_SELECT_BODY(context_.isa, quantised_body);
  const std::int64_t cost = 2 * in.columns * static_cast<std::int64_t>(element_bytes(in.dtype));  // bytes, in and out
  parallel_rows(context_.threads, in.rows, cost, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      body.quantise({.row = static_cast<const std::byte*>(in.data) + in.offset(row),
                     .type = in.dtype,
                     .columns = in.columns,
                     .unit = layout.unit,
                     .zero = layout.zero,
                     .has_least = has_least(layout.scales),
                     .values = rows.values + row * rows.value_stride,
                     .scales = rows.scales + row * rows.unit_stride,
                     .offsets = rows.offsets + row * rows.unit_stride});
    }
  });
  return rows;
}

void QuantisedLinear::run(const Matrix& in, const QuantisedPanels& weight, const float* bias, LinearEpilogue epilogue,
                          const Matrix& out) {
  const QuantisedLayout& layout = weight.layout;
  const QuantisedRows rows = quantise(in, layout);
  const LinearBody& linear = COPPICE_SELECT_BODY(context_.isa, linear_body);
  const QuantisedBody& body = COPPICE_SELECT_BODY(context_.isa, quantised_body);
  const auto run_panel = body.panel[static_cast<std::size_t>(layout.kind)];
  const std::int64_t blocks = (in.rows + kBlockRows - 1) / kBlockRows;
  const std::int64_t task_cost = std::min(in.rows, kBlockRows) * layout.columns() * kQuantisedPanel;
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, task_cost));
  parallel_for(context_.threads, layout.panels() * blocks, grain, [&](std::int64_t begin, std::int64_t end) {
    std::array<float, kBlockRows * kQuantisedPanel> sums;
    for (std::int64_t index = begin; index < end; ++index) {
      const std::int64_t panel = index / blocks;
      const std::int64_t row_begin = index % blocks * kBlockRows;
      QuantisedTask task{.in = rows,
                         .rows = std::min(kBlockRows, in.rows - row_begin),
                         .panel = static_cast<const std::byte*>(weight.packed.data()) + panel * layout.panel_bytes(),
                         .columns = layout.columns(),
                         .chunk = layout.chunk,
                         .out = sums.data()};
      task.in.values += row_begin * rows.value_stride;
      task.in.scales += row_begin * rows.unit_stride;
      task.in.offsets += row_begin * rows.unit_stride;
      const PanelOutput output(out, bias, epilogue, row_begin, task.rows, panel * kQuantisedPanel, kQuantisedPanel);
      output.fetch();
      run_panel(task);
      output.write(linear, sums.data(), kQuantisedPanel);
    }
  });
}

}  // namespace coppice::kernels::cpu
