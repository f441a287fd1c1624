// The contract of Device, checked once for all devices.
#include "kernels/device.h"

#include "absl/status/status.h"
#include "base/check.h"
#include "fmt/format.h"

namespace coppice::kernels {

namespace {

// Largest rows or columns of a weight: beyond is a damaged file, not a model. Products of two still fit 63 bits.
constexpr std::int64_t kDimensionMax = std::int64_t{1} << 28;

absl::Status check_parts(std::span<const HostTensor> parts, std::span<const HostTensor> biases) {
  if (parts.empty() || (!biases.empty() && biases.size() != parts.size())) {
    return absl::InvalidArgumentError(fmt::format("weights: {} parts with {} biases", parts.size(), biases.size()));
  }
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const HostTensor& part = parts[i];
    if (part.data == nullptr || part.rows <= 0 || part.columns <= 0 || part.rows > kDimensionMax ||
        part.columns > kDimensionMax || part.columns != parts.front().columns) {
      return absl::InvalidArgumentError(fmt::format("weights: part {} is {} x {} beside a first part of {} x {}", i,
                                                    part.rows, part.columns, parts.front().rows,
                                                    parts.front().columns));
    }
    rows += part.rows;
    if (!biases.empty() && biases[i].data != nullptr && biases[i].rows * biases[i].columns != part.rows) {
      return absl::InvalidArgumentError(
          fmt::format("weights: bias {} has {} numbers for {} rows", i, biases[i].rows * biases[i].columns, part.rows));
    }
  }
  if (rows > kDimensionMax) {
    return absl::InvalidArgumentError(fmt::format("weights: {} rows are more than {}", rows, kDimensionMax));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<LinearWeight>> Device::pack_linear(std::span<const HostTensor> parts,
                                                                  std::span<const HostTensor> biases, DType dtype) {
  if (dtype == DType::kF16 && !supports(dtype)) {
    return absl::InvalidArgumentError(
        fmt::format("weights: {} multiplies in f32 or bf16, not in {}", name(), dtype_name(dtype)));
  }
  if (absl::Status status = check_parts(parts, biases); !status.ok()) {
    return status;
  }
  return do_pack_linear(parts, biases, dtype);
}

absl::StatusOr<std::unique_ptr<KvCache>> Device::make_kv_cache(const KvGeometry& geometry) {
  if (geometry.layers <= 0 || geometry.key_heads <= 0 || geometry.head_dim <= 0 || geometry.page_size <= 0 ||
      geometry.pages <= 0) {
    return absl::InvalidArgumentError(
        fmt::format("KV cache: {} layers, {} heads of {}, {} pages of {}: none may be below 1", geometry.layers,
                    geometry.key_heads, geometry.head_dim, geometry.pages, geometry.page_size));
  }
  return do_make_kv_cache(geometry);
}

void Device::copy_page(KvCache& cache, PageId from, PageId to) {
  const std::int32_t pages = cache.geometry().pages;
  COPPICE_CHECK(from >= 0 && from < pages && to >= 0 && to < pages, "copy_page: no such page");
  do_copy_page(cache, from, to);
}

void Device::move_slots(KvCache& cache, std::span<const SlotMove> moves) {
  const std::int64_t slots = std::int64_t{cache.geometry().pages} * cache.geometry().page_size;
  for (const SlotMove& move : moves) {
    COPPICE_CHECK(move.from >= 0 && move.from < slots && move.to >= 0 && move.to < slots, "move_slots: no such slot");
  }
  do_move_slots(cache, moves);
}

}  // namespace coppice::kernels
