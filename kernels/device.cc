// The contract of Device, checked once for all devices.
#include "kernels/device.h"

#include "absl/status/status.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace coppice::kernels {

namespace {

// Most rows or columns of a weight. More means a damaged file, not a model; and products of two still fit 63 bits.
constexpr std::int64_t kDimensionMax = std::int64_t{1} << 28;

// Checks that a weight's spans are as long as its format says. ERRORS: InvalidArgument.
absl::Status check_sizes(const HostWeight& weight) {
  const std::size_t bytes = weight.format.bytes(weight.rows, weight.columns);
  const std::int64_t scales = weight.format.scale_count(weight.rows, weight.columns);
  if (weight.bytes.size() != bytes || weight.scales.size() != static_cast<std::size_t>(scales)) {
    return absl::InvalidArgumentError(fmt::format("weights: {} x {} in {} are {} bytes and {} scales, not {} and {}",
                                                  weight.rows, weight.columns, format_name(weight.format), bytes,
                                                  scales, weight.bytes.size(), weight.scales.size()));
  }
  return absl::OkStatus();
}

absl::Status check_bias(const HostWeight& bias, const HostWeight& part, std::size_t index) {
  if (bias.empty()) {
    return absl::OkStatus();
  }
  if (bias.rows * bias.columns != part.rows) {
    return absl::InvalidArgumentError(
        fmt::format("weights: bias {} has {} numbers for {} rows", index, bias.rows * bias.columns, part.rows));
  }
  return check_sizes(bias);
}

absl::Status check_parts(std::span<const HostWeight> parts, std::span<const HostWeight> biases) {
  if (parts.empty() || (!biases.empty() && biases.size() != parts.size())) {
    return absl::InvalidArgumentError(fmt::format("weights: {} parts with {} biases", parts.size(), biases.size()));
  }
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const HostWeight& part = parts[i];
    if (part.empty() || part.rows <= 0 || part.columns <= 0 || part.rows > kDimensionMax ||
        part.columns > kDimensionMax || part.columns != parts.front().columns) {
      return absl::InvalidArgumentError(fmt::format("weights: part {} is {} x {} beside a first part of {} x {}", i,
                                                    part.rows, part.columns, parts.front().rows,
                                                    parts.front().columns));
    }
    COPPICE_RETURN_IF_ERROR(check_sizes(part));
    if (!biases.empty()) {
      COPPICE_RETURN_IF_ERROR(check_bias(biases[i], part, i));
    }
    rows += part.rows;
  }
  if (rows > kDimensionMax) {
    return absl::InvalidArgumentError(fmt::format("weights: {} rows are more than {}", rows, kDimensionMax));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Device::check_formats(const ModelFormats& formats) const {
  if (supports(formats.packing()) == Support::kNone) {
    return absl::UnimplementedError(fmt::format("{} does not compute in {} with weights stored as {}; use bf16 or f32",
                                                name(), format_name(formats.compute), storage_name(formats.storage)));
  }
  if (supports(formats.compute, formats.kv) == Support::kNone) {
    return absl::UnimplementedError(fmt::format("{} does not compute in {} with a KV cache in {}; use bf16 or f32",
                                                name(), format_name(formats.compute), format_name(formats.kv)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<LinearWeight>> Device::pack_linear(std::span<const HostWeight> parts,
                                                                  std::span<const HostWeight> biases,
                                                                  const PackingOptions& options) {
  if (supports(options) == Support::kNone) {
    return absl::InvalidArgumentError(fmt::format("weights: {} does not multiply in {} with weights stored as {}",
                                                  name(), format_name(options.compute), storage_name(options.storage)));
  }
  COPPICE_RETURN_IF_ERROR(check_parts(parts, biases));
  return do_pack_linear(parts, biases, options);
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
