// A matrix product for the tests of the kernels that make them: its weight as the backend lays it out, a run by any of
// the kernels, and the comparison with float64.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/linear/quantised_pack.h"
#include "tests/simt/device_matrix.h"

namespace coppice::kernels::test {

using cuda::LinearTile;

struct Shape {
  std::int64_t out_features;
  std::int64_t in_features;
};

inline std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// A weight as the backend lays it out, and the memory that the split kernels share.
struct Product {
  Product(const Shape& shape_in, ComputeType dtype, bool has_bias)
      : Product(random_tensor(dtype, shape_in.out_features, shape_in.in_features, 11), has_bias) {}

  Product(Tensor weight_in, bool has_bias)
      : shape{weight_in.rows, weight_in.columns},
        weight(std::move(weight_in)),
        bias(random_tensor(ComputeType::kF32, 1, shape.out_features, 12)),
        padded(weight.dtype, round_up(shape.out_features, cuda::kLinearPadN),
               round_up(shape.in_features, cuda::kLinearBlockK)),
        slices(cuda::linear_slices(shape.out_features, shape.in_features)),
        workspace(static_cast<std::size_t>(slices) * 256 * static_cast<std::size_t>(padded.rows)),
        counters(256) {
    for (std::int64_t row = 0; row < weight.rows; ++row) {
      std::memcpy(padded.bytes.data() + static_cast<std::size_t>(row * padded.columns) * element_bytes(weight.dtype),
                  weight.row_bytes(row).data(), weight.row_bytes(row).size());
    }
    device_weight = std::make_unique<DeviceMatrix>(padded);
    if (weight.dtype != ComputeType::kF32) {
      pack();
    }
    device_bias = has_bias ? std::make_unique<DeviceMatrix>(bias) : nullptr;
    counters.zero();
  }

  // To tiles, in two pieces of which the first ends within a tile.
  void pack() {
    packed = std::make_unique<DeviceMatrix>(padded.dtype, padded.rows, padded.columns);
    const std::int64_t first = 37;
    const auto* rows = static_cast<const std::uint16_t*>(device_weight->matrix().data);
    REQUIRE(cuda::launch_pack_linear(rows, 0, first, padded.columns, packed->matrix().data, {}) == 0);
    REQUIRE(cuda::launch_pack_linear(rows + first * padded.columns, first, padded.rows - first, padded.columns,
                                     packed->matrix().data, {}) == 0);
    packed->freeze();
  }

  // From now on the weight is this one in few bits.
  void store_few_bits(const HostWeight& few) {
    const PackingOptions options{weight.dtype, std::nullopt};
    form = cuda::form_of({&few, 1}, options).value();
    const std::int64_t tiles = padded.rows / cuda::kLinearTileRows * (padded.columns / cuda::kLinearBlockK);
    Tensor bytes(ComputeType::kF32, tiles, form.tile_bytes() / std::int64_t{sizeof(float)});
    REQUIRE(cuda::write_quantised_tiles({&few, 1}, options, form, 0, padded.columns, 1, bytes.bytes).ok());
    packed = std::make_unique<DeviceMatrix>(bytes);
    packed->freeze();
  }

  // out (+)= in * weight^T + bias by the kernel of this tile.
  Tensor run(const Tensor& in, LinearTile tile, ComputeType out_dtype, const Tensor* addend = nullptr) {
    DeviceMatrix device_in(in, in_gap);
    DeviceMatrix out(out_dtype, in.rows, shape.out_features, out_gap);
    if (addend != nullptr) {
      for (std::int64_t row = 0; row < in.rows; ++row) {
        std::memcpy(static_cast<std::byte*>(out.matrix().data) + row * out.matrix().stride * 4,
                    addend->row_bytes(row).data(), addend->row_bytes(row).size());
      }
    }
    const cuda::LinearArguments arguments{
        .in = device_in.matrix().data,
        .in_stride = device_in.matrix().stride,
        .weight = packed ? packed->matrix().data : device_weight->matrix().data,
        .form = form,
        .bias = device_bias ? static_cast<const float*>(device_bias->matrix().data) : nullptr,
        .out = out.matrix().data,
        .out_stride = out.matrix().stride,
        .workspace = workspace.data(),
        .counters = counters.data(),
        .rows = static_cast<std::int32_t>(in.rows),
        .out_features = static_cast<std::int32_t>(shape.out_features),
        .in_features = static_cast<std::int32_t>(shape.in_features),
        .padded_k = static_cast<std::int32_t>(padded.columns),
        .slices = slices,
        .rings = rings,
        .processors = 3,
        .out_is_half = out_dtype != ComputeType::kF32,
        .adds = addend != nullptr,
        .is_aligned = device_in.matrix().stride % 8 == 0};
    REQUIRE(cuda::launch_linear(arguments, dense_format(in.dtype), tile, {}) == 0);
    return out.tensor();
  }

  // Against sums in float64.
  void check(const Tensor& in, const Tensor& out, const Tensor* addend) const {
    const Tolerance tolerance = tolerance_of(out.dtype);
    for (std::int64_t row = 0; row < out.rows; ++row) {
      for (std::int64_t column = 0; column < out.columns; ++column) {
        double sum = device_bias ? bias.at(0, column) : 0.0;
        double magnitude = std::abs(sum);
        for (std::int64_t k = 0; k < in.columns; ++k) {
          const double product = double{in.at(row, k)} * weight.at(column, k);
          sum += product;
          magnitude += std::abs(product);
        }
        sum += addend != nullptr ? addend->at(row, column) : 0.0;
        const double allowed = tolerance.absolute * (magnitude + 1.0) + tolerance.relative * std::abs(sum);
        if (!(std::abs(out.at(row, column) - sum) <= allowed)) {
          FAIL("row " << row << " column " << column << ": " << out.at(row, column) << " for " << sum);
        }
      }
    }
  }

  Shape shape;
  std::int64_t in_gap = 0;  // elements between rows
  std::int64_t out_gap = 2;
  Tensor weight;
  Tensor bias;
  Tensor padded;
  cuda::QuantisedForm form;
  int slices;
  cuda::LinearRings rings = [] {  // of the emulated device
    cuda::LoadedKernels loaded;
    cuda::prepare_linear_hopper(loaded);
    return cuda::prepare_linear(loaded);
  }();
  simt::Buffer<float> workspace;
  simt::Buffer<std::uint32_t> counters;
  std::unique_ptr<DeviceMatrix> device_weight;  // row by row
  std::unique_ptr<DeviceMatrix> packed;         // as the kernels want it, unless it is f32
  std::unique_ptr<DeviceMatrix> device_bias;
};

inline Tensor first_rows(const Tensor& in, std::int64_t rows) {
  Tensor out(in.dtype, rows, in.columns);
  std::memcpy(out.bytes.data(), in.bytes.data(), out.bytes.size());
  return out;
}

}  // namespace coppice::kernels::test
