// Device memory: matrices, which are views, and buffers, which own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/formats.h"

namespace coppice::kernels {

// A row-major matrix in device memory: rows × columns, `stride` elements from one row to the next. Not owning.
struct Matrix {
  void* data = nullptr;
  ComputeType dtype = ComputeType::kF32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t stride = 0;

  // The same matrix with only its first `count` rows.
  Matrix first_rows(std::int64_t count) const { return {data, dtype, count, columns, stride}; }
  // The same matrix without its first `count` rows.
  Matrix rows_from(std::int64_t count) const {
    return {static_cast<std::byte*>(data) + offset(count), dtype, rows - count, columns, stride};
  }
  // Bytes from the first element to (row, column).
  std::int64_t offset(std::int64_t row, std::int64_t column = 0) const {
    return (row * stride + column) * static_cast<std::int64_t>(element_bytes(dtype));
  }
};

// Rows of numbers in device memory in a weight's format, with no scales beside it; read one row at a time. Not owning.
struct Table {
  const void* data = nullptr;
  WeightFormat format;
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  const std::byte* row(std::int64_t index) const {
    return static_cast<const std::byte*>(data) + static_cast<std::size_t>(index) * format.bytes(1, columns);
  }
};

// A dense matrix without gaps as a table.
inline Table table_of(const Matrix& matrix) {
  return {matrix.data, dense_format(matrix.dtype), matrix.rows, matrix.columns};
}
// A table as a matrix that is only read. REQUIRES: its format is dense.
inline Matrix dense_matrix(const Table& table) {
  return {const_cast<void*>(table.data), dense_type(table.format).value(), table.rows, table.columns, table.columns};
}

// Owns device memory of one backend. Move-only. REQUIRES: the backend outlives it.
class Buffer {
 public:
  Buffer() = default;
  Buffer(void* data, std::size_t bytes, void (*release)(void*)) : data_(data, release), bytes_(bytes) {}

  void* data() const { return data_.get(); }
  std::size_t bytes() const { return bytes_; }

  Matrix matrix(ComputeType dtype, std::int64_t rows, std::int64_t columns) const {
    return {data_.get(), dtype, rows, columns, columns};
  }

 private:
  std::unique_ptr<void, void (*)(void*)> data_{nullptr, nullptr};
  std::size_t bytes_ = 0;
};

}  // namespace coppice::kernels
