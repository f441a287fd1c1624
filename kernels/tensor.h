// Views of device memory: element types, matrices, and the one owning buffer. A view never owns; a Buffer always does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace coppice::kernels {

enum class DType : std::uint8_t { kF32, kBF16, kF16 };

constexpr std::size_t dtype_bytes(DType dtype) {
  return dtype == DType::kF32 ? 4 : 2;
}
constexpr const char* dtype_name(DType dtype) {
  return dtype == DType::kF32 ? "f32" : dtype == DType::kBF16 ? "bf16" : "f16";
}

// A row-major matrix in device memory: rows × columns, `stride` elements from one row to the next. Not owning.
struct Matrix {
  void* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t stride = 0;

  // The same matrix with only its first `count` rows.
  Matrix first_rows(std::int64_t count) const { return {data, dtype, count, columns, stride}; }
};

// A row-major tensor in host memory as a weights file holds it. Not owning. A vector has rows = 1.
struct HostTensor {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

// Owning device memory; freed by the backend that made it. Move-only. The backend outlives its buffers.
class Buffer {
 public:
  Buffer() = default;
  Buffer(void* data, std::size_t bytes, void (*release)(void*)) : data_(data, release), bytes_(bytes) {}

  void* data() const { return data_.get(); }
  std::size_t bytes() const { return bytes_; }

  Matrix matrix(DType dtype, std::int64_t rows, std::int64_t columns) const {
    return {data_.get(), dtype, rows, columns, columns};
  }

 private:
  std::unique_ptr<void, void (*)(void*)> data_{nullptr, nullptr};
  std::size_t bytes_ = 0;
};

}  // namespace coppice::kernels
