// Where the sums of rows times one panel go: a block of the output's rows and columns. Used by all of our own products.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/linear_body.h"
#include "kernels/operations.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cpu {

// A view; immutable.
class PanelOutput {
 public:
  // Rows from row_begin on, columns [column, column + width) or up to out's last. bias: f32 [out_features] or null.
  PanelOutput(const Matrix& out, const float* bias, LinearEpilogue epilogue, std::int64_t row_begin, std::int64_t rows,
              std::int64_t column, std::int64_t width)
      : first_(static_cast<std::byte*>(out.data) + out.offset(row_begin, column)),
        stride_(out.stride * static_cast<std::int64_t>(element_bytes(out.dtype))),
        rows_(rows),
        columns_(std::min(width, out.columns - column)),
        bias_(bias == nullptr ? nullptr : bias + column),
        adds_(epilogue == LinearEpilogue::kAdd),
        type_(out.dtype) {}

  // Has the block's lines fetched to be written while the panel is multiplied: every row is a page of its own, and
  // waiting for them took a tenth of a product with 32,000 output features.
  void fetch() const {
    constexpr std::int64_t kLine = 64;  // bytes of a cache line
    const std::int64_t bytes = columns_ * static_cast<std::int64_t>(element_bytes(type_));
    for (std::int64_t row = 0; row < rows_; ++row) {
      for (std::int64_t at = 0; at < bytes; at += kLine) {
        __builtin_prefetch(first_ + row * stride_ + at, /*rw=*/1, /*locality=*/2);
      }
    }
  }

  // sums: f32, a row every sum_stride numbers.
  void write(const LinearBody& body, const float* sums, std::int64_t sum_stride) const {
    for (std::int64_t row = 0; row < rows_; ++row) {
      body.finish(sums + row * sum_stride, bias_, adds_, columns_, first_ + row * stride_, type_);
    }
  }

 private:
  std::byte* first_;
  std::int64_t stride_;  // bytes
  std::int64_t rows_;
  std::int64_t columns_;
  const float* bias_;
  bool adds_;
  ComputeType type_;
};

}  // namespace coppice::kernels::cpu
