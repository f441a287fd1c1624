// A tensor of the kernel tests (tests/unit/kernels/kernel_support.h) in the emulator's global memory, with its rows a
// little further apart than they must be, and back.
#pragma once

#include <cstring>

#include "tests/simt/session.h"
#include "tests/unit/kernels/kernel_support.h"

namespace coppice::kernels::test {

class DeviceMatrix {
 public:
  // `gap`: elements between the rows; they hold poison.
  explicit DeviceMatrix(const Tensor& tensor, std::int64_t gap = 0)
      : shape_(tensor.dtype, tensor.rows, tensor.columns),
        stride_(tensor.columns + gap),
        buffer_(static_cast<std::size_t>(tensor.rows * stride_) * element_bytes(tensor.dtype)) {
    for (std::int64_t row = 0; row < tensor.rows; ++row) {
      std::memcpy(row_data(row), tensor.row_bytes(row).data(), tensor.row_bytes(row).size());
    }
  }
  DeviceMatrix(ComputeType dtype, std::int64_t rows, std::int64_t columns, std::int64_t gap = 0)
      : shape_(dtype, rows, columns),
        stride_(columns + gap),
        buffer_(static_cast<std::size_t>(rows * stride_) * element_bytes(dtype)) {}

  void freeze() { simt::GlobalMemory::freeze(buffer_.data()); }
  Matrix matrix() { return {buffer_.data(), shape_.dtype, shape_.rows, shape_.columns, stride_}; }
  Tensor tensor() const {
    Tensor out = shape_;
    for (std::int64_t row = 0; row < out.rows; ++row) {
      std::memcpy(out.bytes.data() + static_cast<std::size_t>(row) * row_bytes(), row_data(row), row_bytes());
    }
    return out;
  }

 private:
  std::size_t row_bytes() const { return static_cast<std::size_t>(shape_.columns) * element_bytes(shape_.dtype); }
  const std::byte* row_data(std::int64_t row) const {
    return buffer_.data() + static_cast<std::size_t>(row * stride_) * element_bytes(shape_.dtype);
  }
  std::byte* row_data(std::int64_t row) {
    return buffer_.data() + static_cast<std::size_t>(row * stride_) * element_bytes(shape_.dtype);
  }

  Tensor shape_;
  std::int64_t stride_;
  simt::Buffer<std::byte> buffer_;
};

}  // namespace coppice::kernels::test
