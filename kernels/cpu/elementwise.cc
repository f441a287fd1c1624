// Rows of the row-wise operations shared out to the team; the work on one row is elementwise_body.cc.
#include "kernels/cpu/elementwise.h"

#include <cstddef>
#include <cstring>

#include "kernels/cpu/elementwise_body.h"
#include "kernels/host/parallel.h"

namespace coppice::kernels::cpu {

namespace {

std::byte* row_of(const Matrix& matrix, std::int64_t row) {
  return static_cast<std::byte*>(matrix.data) + matrix.offset(row);
}

// An exponential and a division cost about as much as this many bytes of plain copying.
constexpr std::int64_t kSwigluBytes = 16;

}  // namespace

void embed(const CpuContext& context, std::span<const TokenId> tokens, const Matrix& table, const Matrix& out) {
  const ElementwiseBody& body = COPPICE_SELECT_BODY(context.isa, elementwise_body);
  const auto rows = static_cast<std::int64_t>(tokens.size());
  parallel_rows(context.threads, rows, 4 * table.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      body.to_f32(row_of(table, tokens[static_cast<std::size_t>(row)]), dense_format(table.dtype), table.columns,
                  reinterpret_cast<float*>(row_of(out, row)));
    }
  });
}

void rms_norm(const CpuContext& context, const Matrix& x, const float* weight, float epsilon, const Matrix& out) {
  const ElementwiseBody& body = COPPICE_SELECT_BODY(context.isa, elementwise_body);
  parallel_rows(context.threads, x.rows, 8 * x.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      body.rms_norm(reinterpret_cast<const float*>(row_of(x, row)), weight, epsilon, x.columns, row_of(out, row),
                    out.dtype);
    }
  });
}

void swiglu(const CpuContext& context, const Matrix& gate_up, const Matrix& out) {
  const ElementwiseBody& body = COPPICE_SELECT_BODY(context.isa, elementwise_body);
  const std::int64_t half = gate_up.offset(0, out.columns);  // bytes from gate to up
  parallel_rows(context.threads, out.rows, kSwigluBytes * out.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::byte* gate = row_of(gate_up, row);
      body.swiglu(gate, gate + half, gate_up.dtype, out.columns, row_of(out, row), out.dtype);
    }
  });
}

void gather_rows(const CpuContext& context, const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out) {
  const auto count = static_cast<std::int64_t>(rows.size());
  const std::size_t bytes = static_cast<std::size_t>(in.columns) * sizeof(float);
  parallel_rows(context.threads, count, 4 * in.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      std::memcpy(row_of(out, row), row_of(in, rows[static_cast<std::size_t>(row)]), bytes);
    }
  });
}

}  // namespace coppice::kernels::cpu
