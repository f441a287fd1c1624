// Weights in few bits on the CUDA backend: against float64 in every format, alone and stacked with others, the same
// bits for every number of rows; and what memory they take.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "kernels/host/quantised_row.h"
#include "tests/gpu/device.h"
#include "tests/unit/kernels/quantised_support.h"

namespace coppice::kernels::test {
namespace {

using tests::device_is_emulated;
using tests::device_report;
using tests::open_device;

Tensor multiply(Backend& backend, const Tensor& in, const LinearWeight& weight) {
  Device& device = backend.device();
  const Buffer rows = device.allocate(in.bytes.size()).value();
  device.upload(in.bytes.data(), rows.data(), in.bytes.size());
  Tensor out(ComputeType::kF32, in.rows, weight.out_features());
  const Buffer sums = device.allocate(out.bytes.size()).value();
  backend.operations().linear(rows.matrix(in.dtype, in.rows, in.columns), weight, LinearEpilogue::kStore,
                              sums.matrix(ComputeType::kF32, out.rows, out.columns));
  device.download(sums.data(), out.bytes.data(), out.bytes.size());
  return out;
}

// Numbers of rows that every kernel gets some of.
std::vector<std::int64_t> row_counts() {
  return device_is_emulated() ? std::vector<std::int64_t>{1, 17, 70}
                              : std::vector<std::int64_t>{1, 16, 17, 64, 65, 128, 700};
}

// The products of `weight` for several numbers of rows against float64 with its numbers, [out features][in features],
// and against each other.
void check_products(Backend& backend, const LinearWeight& weight, std::span<const float> numbers, ComputeType compute) {
  const std::int64_t columns = weight.in_features();
  const Tensor in = random_tensor(compute, row_counts().back(), columns, 3);
  const Tensor all = multiply(backend, in, weight);
  const double largest = std::abs(*std::ranges::max_element(numbers, {}, [](float x) { return std::abs(x); }));
  std::int64_t wrong = 0;
  for (std::int64_t row = 0; row < in.rows; ++row) {
    double inputs = 0;
    for (std::int64_t k = 0; k < columns; ++k) {
      inputs += std::abs(double{in.at(row, k)});
    }
    for (std::int64_t column = 0; column < all.columns; ++column) {
      double sum = 0;
      for (std::int64_t k = 0; k < columns; ++k) {
        sum += double{in.at(row, k)} * numbers[static_cast<std::size_t>(column * columns + k)];
      }
      wrong += std::abs(all.at(row, column) - sum) <= 1e-6 * inputs * largest ? 0 : 1;
    }
  }
  CHECK(wrong == 0);
  for (const std::int64_t rows : row_counts()) {
    Tensor few(compute, rows, columns);
    std::memcpy(few.bytes.data(), in.bytes.data(), few.bytes.size());
    const Tensor out = multiply(backend, few, weight);
    INFO(rows << " rows");
    CHECK(std::memcmp(out.bytes.data(), all.bytes.data(), out.bytes.size()) == 0);
  }
  CHECK(device_report() == "");
}

void check_parts(Backend& backend, std::span<const Quantised> parts, ComputeType compute) {
  std::vector<HostWeight> views;
  std::vector<float> numbers;
  std::string names;
  for (const Quantised& part : parts) {
    views.push_back(part.host());
    const std::vector<float> own = part.numbers();
    numbers.insert(numbers.end(), own.begin(), own.end());
    names += std::string(" ") + format_name(part.format) + " of " + std::to_string(part.format.group);
  }
  INFO(names << ", " << parts.front().columns << " columns, in " << format_name(compute));
  const auto few = backend.device().pack_linear(views, {}, {compute, std::nullopt});
  REQUIRE(few.ok());
  check_products(backend, **few, numbers, compute);
}

struct Format {
  WeightFormat format;
  std::int64_t columns;
};
// Whole tiles, several slices of K, and columns that end inside a tile or a group.
const std::vector<Format> kFormats = {
    {{WeightKind::kQ4_0}, 96},      {{WeightKind::kQ4_1}, 576},       {{WeightKind::kQ5_0}, 64},
    {{WeightKind::kQ5_1}, 96},      {{WeightKind::kQ8_0}, 1056},      {{WeightKind::kQ4_K}, 768},
    {{WeightKind::kQ5_K}, 256},     {{WeightKind::kQ6_K}, 512},       {{WeightKind::kInt8, 0}, 130},
    {{WeightKind::kInt8, 32}, 128}, {{WeightKind::kInt8, 64}, 600},   {{WeightKind::kInt4, 32}, 70},
    {{WeightKind::kInt4, 64}, 320}, {{WeightKind::kInt4, 128}, 1000}, {{WeightKind::kInt4, 512}, 1024},
    {{WeightKind::kInt4, 0}, 576},  {{WeightKind::kFp8, 0}, 130},     {{WeightKind::kFp8, 128}, 600}};

TEST_CASE("weights in few bits multiply exactly, in every format") {
  const auto backend = open_device();
  for (const Format& format : kFormats) {
    for (const ComputeType compute : {ComputeType::kBF16, ComputeType::kF16}) {
      const Quantised weight = random_quantised(format.format, 150, format.columns, 5);
      check_parts(*backend, {&weight, 1}, compute);
    }
  }
}

TEST_CASE("what weights in few bits take of the memory") {
  const auto backend = open_device();
  const auto share = [&](WeightFormat format) {
    const Quantised weight = random_quantised(format, 128, 1024, 6);
    const HostWeight view = weight.host();
    const auto packed = backend->device().pack_linear({&view, 1}, {}, {ComputeType::kBF16, std::nullopt}).value();
    return 8.0 * static_cast<double>(packed->bytes()) / (128 * 1024);  // bits of a weight
  };
  CHECK(share({WeightKind::kQ4_0}) == 5);
  CHECK(share({WeightKind::kQ4_K}) == 6);
  CHECK(share({WeightKind::kInt4, 128}) == 5);
  CHECK(share({WeightKind::kQ8_0}) == 9);
  CHECK(share({WeightKind::kInt8}) == 8.5);
  CHECK(share({WeightKind::kFp8, 128}) == 8.5);
  CHECK(share({WeightKind::kQ6_K}) == 10);
}

// Q4_K_M mixes Q4_K and Q6_K in one attention; makers of checkpoints leave single matrices in 8 bits.
TEST_CASE("stacked weights of several formats keep few bits") {
  const auto backend = open_device();
  const auto check = [&](std::initializer_list<WeightFormat> formats, std::int64_t columns) {
    std::vector<Quantised> parts;
    std::int64_t rows = 72;
    for (const WeightFormat& format : formats) {
      parts.push_back(random_quantised(format, rows, columns, static_cast<std::uint32_t>(rows)));
      rows = rows == 72 ? 24 : 40;
    }
    check_parts(*backend, parts, ComputeType::kBF16);
  };
  check({{WeightKind::kQ4_K}, {WeightKind::kQ4_K}, {WeightKind::kQ6_K}}, 512);
  check({{WeightKind::kQ4_0}, {WeightKind::kQ4_1}}, 96);  // two zeros
  check({{WeightKind::kFp8, 0}, {WeightKind::kFp8, 128}}, 200);
  check({{WeightKind::kInt4, 128}, {WeightKind::kInt4, 32}, {WeightKind::kInt8, 0}}, 320);
}

// A stacked weight is widened whole if a part has no few bits or no form has those of all.
TEST_CASE("a part that stands in no form with its neighbours widens them") {
  const auto backend = open_device();
  const bool is_dense = GENERATE(true, false);
  const Quantised few = random_quantised({is_dense ? WeightKind::kQ8_0 : WeightKind::kFp8}, 40, 96, 1);
  const Tensor dense = random_tensor(ComputeType::kBF16, 24, 96, 2);
  const Quantised whole = random_quantised({WeightKind::kInt8}, 24, 96, 2);
  const HostWeight views[] = {few.host(), is_dense ? dense.host() : whole.host()};
  const auto packed = backend->device().pack_linear(views, {}, {ComputeType::kBF16, std::nullopt}).value();
  const auto widened = backend->device().pack_linear(views, {}, dense_packing(ComputeType::kBF16)).value();
  CHECK(packed->bytes() == widened->bytes());
  const Tensor in = random_tensor(ComputeType::kBF16, 17, 96, 3);
  CHECK((multiply(*backend, in, *packed).bytes == multiply(*backend, in, *widened).bytes));
}

// A weight as `storage` holds it, in float32.
Tensor as_stored(const Tensor& weight, WeightFormat storage) {
  Tensor out(ComputeType::kF32, weight.rows, weight.columns);
  QuantisedRowReader reader(storage, cpu::best_isa());
  const std::int64_t width = storage.group == 0 ? kPartColumns : storage.group;
  for (std::int64_t row = 0; row < weight.rows; ++row) {
    reader.begin(weight.host().rows_from(row, 1));
    for (std::int64_t begin = 0; begin < weight.columns; begin += width) {
      const std::int64_t count = std::min(width, weight.columns - begin);
      const QuantisedChunk chunk = reader.chunk(begin, count);
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int32_t bits = chunk.parts.bits[static_cast<std::size_t>(i)] - zero_of(storage.kind);
        out.set(row, begin + i, chunk.scale * static_cast<float>(bits) + chunk.least);
      }
    }
  }
  return out;
}

TEST_CASE("--quant: dense weights are quantised as on a CPU") {
  const auto backend = open_device();
  for (const WeightFormat storage :
       {WeightFormat{WeightKind::kInt8}, WeightFormat{WeightKind::kInt4, 32}, WeightFormat{WeightKind::kInt4, 128}}) {
    const Tensor weight = random_tensor(ComputeType::kBF16, 150, 520, 7);
    const HostWeight view = weight.host();
    const auto few = backend->device().pack_linear({&view, 1}, {}, {ComputeType::kBF16, storage}).value();
    const Tensor stored = as_stored(weight, storage);
    double difference = 0;
    for (std::int64_t row = 0; row < weight.rows; ++row) {
      for (std::int64_t k = 0; k < weight.columns; ++k) {
        difference = std::max(difference, std::abs(double{stored.at(row, k)} - weight.at(row, k)));
      }
    }
    INFO(format_name(storage) << " of " << storage.group);
    CHECK((difference > 0 && difference < (storage.kind == WeightKind::kInt8 ? 0.02 : 0.6)));
    std::vector<float> numbers(stored.count());
    std::memcpy(numbers.data(), stored.bytes.data(), stored.bytes.size());
    check_products(*backend, *few, numbers, ComputeType::kBF16);
  }
  Tensor large = random_tensor(ComputeType::kF32, 64, 64, 8);
  large.set(3, 5, 70000.0F);
  const HostWeight view = large.host();
  const auto refused =
      backend->device().pack_linear({&view, 1}, {}, {ComputeType::kBF16, WeightFormat{WeightKind::kInt4, 32}});
  CHECK(refused.status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("float32 is multiplied with dense weights alone") {
  const auto backend = open_device();
  const Device& device = backend->device();
  CHECK(device.supports({ComputeType::kF32, WeightFormat{WeightKind::kQ8_0}}) == Support::kNone);
  CHECK(device.supports({ComputeType::kBF16, WeightFormat{WeightKind::kInt4, 48}}) == Support::kNone);
  CHECK(device.supports({ComputeType::kBF16, std::nullopt}) == Support::kFull);
}

}  // namespace
}  // namespace coppice::kernels::test
