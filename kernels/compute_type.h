// ComputeType: the element type of activations and of what products read (formats.h).
#pragma once

#include <cstddef>
#include <cstdint>

namespace coppice::kernels {

enum class ComputeType : std::uint8_t { kF32, kBF16, kF16 };

constexpr std::size_t element_bytes(ComputeType type) {
  switch (type) {
    case ComputeType::kF32:
      return sizeof(float);
    case ComputeType::kBF16:
    case ComputeType::kF16:
      return sizeof(std::uint16_t);
  }
  return 0;
}

constexpr const char* format_name(ComputeType type) {
  switch (type) {
    case ComputeType::kF32:
      return "f32";
    case ComputeType::kBF16:
      return "bf16";
    case ComputeType::kF16:
      return "f16";
  }
  return "";
}

}  // namespace coppice::kernels
