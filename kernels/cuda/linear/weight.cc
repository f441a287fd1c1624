// Packing of weight matrices for the GPU.
#include "kernels/cuda/linear/weight.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/linear/linear.h"
#include "kernels/cuda/linear/quantised_pack.h"
#include "kernels/float16.h"
#include "kernels/host/convert_body.h"
#include "kernels/host/parallel.h"
#include "kernels/quantised_blocks.h"

namespace coppice::kernels::cuda {

namespace {

std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Writes one row, dense in `type`.
void convert_row(const cpu::ConvertBody& body, const HostWeight& row, ComputeType type, void* out) {
  const void* in = row.bytes.data();
  ComputeType source = ComputeType::kF32;
  std::vector<float> wide;
  if (const std::optional<ComputeType> dense = dense_type(row.format)) {
    source = *dense;
  } else {
    wide.resize(static_cast<std::size_t>(row.columns));
    dequantize(row, 0, wide);
    in = wide.data();
  }
  if (source == type) {
    std::memcpy(out, in, static_cast<std::size_t>(row.columns) * element_bytes(type));
    return;
  }
  switch (type) {
    case ComputeType::kF32:
      return body.to_f32(in, source, row.columns, static_cast<float*>(out));
    case ComputeType::kBF16:
      return body.to_bf16(in, source, row.columns, static_cast<std::uint16_t*>(out));
    case ComputeType::kF16:
      break;
  }
  if (source != ComputeType::kF32) {
    wide.resize(static_cast<std::size_t>(row.columns));
    body.to_f32(in, source, row.columns, wide.data());
    in = wide.data();
  }
  std::transform(static_cast<const float*>(in), static_cast<const float*>(in) + row.columns,
                 static_cast<std::uint16_t*>(out), float_to_f16);
}

// A weight in device memory, to which rows are written, at most kUnpackedRowsBytes at a time.
struct Target {
  std::byte* matrix;
  ComputeType type;
  std::int64_t padded_k;
  void* unpacked;
  Staging& staging;
  cudaStream_t stream;

  std::size_t row_bytes() const { return dense_format(type).bytes(1, padded_k); }
  std::int64_t rows_at_once() const {
    COPPICE_CHECK(row_bytes() <= kUnpackedRowsBytes, "a weight's row is longer than the memory it passes through");
    return static_cast<std::int64_t>(kUnpackedRowsBytes / row_bytes());
  }
  // f32 is row-major. 16-bit elements are in tiles; the GPU moves the rows there.
  void write(const void* rows, std::int64_t row_begin, std::int64_t count) const {
    const std::size_t bytes = static_cast<std::size_t>(count) * row_bytes();
    if (type == ComputeType::kF32) {
      staging.upload(rows, matrix + static_cast<std::size_t>(row_begin) * row_bytes(), bytes);
      return;
    }
    staging.upload(rows, unpacked, bytes);
    COPPICE_CUDA_CHECK(
        static_cast<cudaError_t>(launch_pack_linear(unpacked, row_begin, count, padded_k, matrix, {stream})));
  }
};

// Uploads the rows of `part` to rows [row_begin, …) of the weight.
void upload_plain(const HostWeight& part, const Target& target, std::int64_t row_begin) {
  for (std::int64_t begin = 0; begin < part.rows; begin += target.rows_at_once()) {
    const std::int64_t count = std::min(target.rows_at_once(), part.rows - begin);
    target.write(part.rows_from(begin, count).bytes.data(), row_begin + begin, count);
  }
}

// The same, converted to the device's type, with zeros up to padded_k.
void upload_converted(const HostWeight& part, const Target& target, std::int64_t row_begin, int threads) {
  const cpu::ConvertBody& body = COPPICE_SELECT_BODY(cpu::best_isa(), convert_body);
  const std::size_t out_row = target.row_bytes();
  const std::size_t in_row = part.format.bytes(1, part.columns);
  const std::int64_t step = target.rows_at_once();
  std::vector<std::byte> converted(static_cast<std::size_t>(std::min(step, part.rows)) * out_row);
  for (std::int64_t begin = 0; begin < part.rows; begin += step) {
    const std::int64_t count = std::min(step, part.rows - begin);
    parallel_rows(threads, count, static_cast<std::int64_t>(in_row + out_row),
                  [&](std::int64_t first, std::int64_t end) {
                    for (std::int64_t row = first; row < end; ++row) {
                      void* out = converted.data() + static_cast<std::size_t>(row) * out_row;
                      convert_row(body, part.rows_from(begin + row, 1), target.type, out);
                    }
                  });
    target.write(converted.data(), row_begin + begin, count);
  }
}

// Uploads one float per row of the stacked parts, zeros where a part has no bias. Returns an empty buffer if none has.
absl::StatusOr<Buffer> upload_biases(std::span<const HostWeight> parts, std::span<const HostWeight> biases,
                                     Staging& staging, cudaStream_t stream) {
  const cpu::ConvertBody& body = COPPICE_SELECT_BODY(cpu::best_isa(), convert_body);
  const bool has_any = std::ranges::any_of(biases, [](const HostWeight& bias) { return !bias.empty(); });
  if (!has_any) {
    return Buffer();
  }
  std::vector<float> stacked;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto begin = static_cast<std::int64_t>(stacked.size());
    stacked.resize(stacked.size() + static_cast<std::size_t>(parts[i].rows));
    if (!biases[i].empty()) {
      convert_row(body, biases[i], ComputeType::kF32, stacked.data() + begin);
    }
  }
  COPPICE_ASSIGN_OR_RETURN(Buffer buffer, allocate_device(stacked.size() * sizeof(float), stream));
  staging.upload(stacked.data(), buffer.data(), stacked.size() * sizeof(float));
  return buffer;
}

absl::StatusOr<Buffer> pack_dense(std::span<const HostWeight> parts, ComputeType type, std::int64_t rows,
                                  std::int64_t padded_k, const Buffer& unpacked, Staging& staging, cudaStream_t stream,
                                  int threads) {
  COPPICE_ASSIGN_OR_RETURN(Buffer matrix,
                           allocate_device(dense_format(type).bytes(round_up(rows, kLinearPadN), padded_k), stream));
  const Target target{static_cast<std::byte*>(matrix.data()), type, padded_k, unpacked.data(), staging, stream};
  std::int64_t row_begin = 0;
  for (const HostWeight& part : parts) {
    if (part.format == dense_format(type) && part.columns == padded_k) {
      upload_plain(part, target, row_begin);
    } else {
      upload_converted(part, target, row_begin, threads);
    }
    row_begin += part.rows;
  }
  return matrix;
}

// Bytes of `rows` rows, a multiple of kLinearTileRows, of tiles.
std::size_t tiles_bytes(QuantisedForm form, std::int64_t rows, std::int64_t padded_k) {
  return static_cast<std::size_t>(rows / kLinearTileRows * (padded_k / kLinearBlockK) * form.tile_bytes());
}

absl::StatusOr<Buffer> pack_tiles(std::span<const HostWeight> parts, const PackingOptions& options, QuantisedForm form,
                                  std::int64_t rows, std::int64_t padded_k, Staging& staging, cudaStream_t stream,
                                  int threads) {
  const std::int64_t padded_rows = round_up(rows, kLinearPadN);
  COPPICE_ASSIGN_OR_RETURN(Buffer matrix, allocate_device(tiles_bytes(form, padded_rows, padded_k), stream));
  const std::size_t band_bytes = tiles_bytes(form, kLinearTileRows, padded_k);
  // As many bands as fit in the memory that dense rows pass through, but one for each thread.
  const auto at_once = static_cast<std::int64_t>(kUnpackedRowsBytes / band_bytes);
  const std::int64_t step = std::max<std::int64_t>(at_once, threads) * kLinearTileRows;
  std::vector<std::byte> tiles;
  for (std::int64_t begin = 0; begin < padded_rows; begin += step) {
    tiles.resize(tiles_bytes(form, std::min(step, padded_rows - begin), padded_k));
    COPPICE_RETURN_IF_ERROR(write_quantised_tiles(parts, options, form, begin, padded_k, threads, tiles));
    staging.upload(tiles.data(), static_cast<std::byte*>(matrix.data()) + tiles_bytes(form, begin, padded_k),
                   tiles.size());
  }
  return matrix;
}

}  // namespace

CudaLinearWeight::CudaLinearWeight(std::int64_t out_features, std::int64_t in_features, ComputeType type,
                                   QuantisedForm form, Buffer matrix, Buffer bias)
    : LinearWeight(out_features, in_features),
      type_(type),
      form_(form),
      matrix_(std::move(matrix)),
      bias_(std::move(bias)),
      padded_k_(round_up(in_features, kLinearBlockK)),
      slices_(linear_slices(out_features, in_features)) {}

std::size_t CudaLinearWeight::bytes() const {
  return form_.bits == 0 ? factors().bytes(out_features(), padded_k_)
                         : tiles_bytes(form_, round_up(out_features(), kLinearTileRows), padded_k_);
}

absl::StatusOr<std::unique_ptr<LinearWeight>> pack_weight(std::span<const HostWeight> parts,
                                                          std::span<const HostWeight> biases,
                                                          const PackingOptions& options, const Buffer& unpacked,
                                                          Staging& staging, cudaStream_t stream, int threads) {
  const std::int64_t columns = parts.front().columns;
  const std::int64_t padded_k = round_up(columns, kLinearBlockK);
  std::int64_t rows = 0;
  for (const HostWeight& part : parts) {
    rows += part.rows;
  }
  const std::optional<QuantisedForm> form = form_of(parts, options);
  COPPICE_ASSIGN_OR_RETURN(
      Buffer matrix, form ? pack_tiles(parts, options, *form, rows, padded_k, staging, stream, threads)
                          : pack_dense(parts, options.compute, rows, padded_k, unpacked, staging, stream, threads));
  COPPICE_ASSIGN_OR_RETURN(Buffer bias, upload_biases(parts, biases, staging, stream));
  return std::make_unique<CudaLinearWeight>(rows, columns, options.compute, form.value_or(QuantisedForm{}),
                                            std::move(matrix), std::move(bias));
}

}  // namespace coppice::kernels::cuda
