// Products with quantised weights: parity with a float64 product of the same numbers, and the promise that a row's bits
// are the same for every number of rows and of threads and on every instruction set with fused multiply-adds.
#include <catch2/catch.hpp>

#include "kernel_support.h"
#include "kernels/host/quantised_row.h"
#include "quantised_support.h"

namespace coppice::kernels::test {
namespace {

// Activations as products take them: a whole number of 127 steps a group.
std::vector<double> rounded_row(const Tensor& in, std::int64_t row, std::int64_t group) {
  std::vector<double> out(static_cast<std::size_t>(in.columns));
  for (std::int64_t begin = 0; begin < in.columns; begin += group) {
    const std::int64_t end = std::min(in.columns, begin + group);
    float largest = 0;
    for (std::int64_t k = begin; k < end; ++k) {
      largest = std::max(largest, std::abs(in.at(row, k)));
    }
    for (std::int64_t k = begin; k < end; ++k) {
      const float whole = largest == 0 ? 0 : std::nearbyint(in.at(row, k) * (127.0F / largest));
      out[static_cast<std::size_t>(k)] = double{whole} * double{largest / 127.0F};
    }
  }
  return out;
}

struct Format {
  WeightFormat format;
  std::int64_t group;  // columns that share an activation's scale
  std::vector<std::int64_t> columns;
};
const std::vector<Format> kFormats = {{{WeightKind::kQ4_0}, 32, {32, 96, 288, 576}},
                                      {{WeightKind::kQ4_1}, 32, {32, 96, 288, 576}},
                                      {{WeightKind::kQ5_0}, 32, {64, 544}},
                                      {{WeightKind::kQ5_1}, 32, {64, 544}},
                                      {{WeightKind::kQ8_0}, 32, {32, 800}},
                                      {{WeightKind::kQ4_K}, 32, {256, 768}},
                                      {{WeightKind::kQ5_K}, 32, {256, 768}},
                                      {{WeightKind::kQ6_K}, 32, {256, 768}},
                                      {{WeightKind::kInt8, 0}, 32, {1, 31, 130, 576, 1024}},
                                      {{WeightKind::kInt8, 64}, 32, {64, 600}},
                                      {{WeightKind::kInt4, 32}, 32, {32, 70, 576}},
                                      {{WeightKind::kInt4, 128}, 32, {128, 576, 1000}},
                                      {{WeightKind::kInt4, 512}, 32, {1024}},
                                      {{WeightKind::kInt4, 0}, 32, {2, 576}}};

PackingOptions stored_so(ComputeType compute) {
  return {compute, std::nullopt};
}

TEST_CASE("quantised products agree with float64 on every instruction set", "[quantised]") {
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(2, isa);
    for (const Format& kind : kFormats) {
      for (const std::int64_t columns : kind.columns) {
        for (const ComputeType type : {ComputeType::kF32, ComputeType::kBF16}) {
          const std::int64_t rows = 1 + columns % 9;
          const std::int64_t features = 33 + columns % 40;
          const Quantised weight = random_quantised(kind.format, features, columns, 7);
          const std::vector<float> numbers = weight.numbers();
          Tensor in = random_tensor(type, rows, columns, 1);
          const Tensor bias = random_tensor(ComputeType::kF32, 1, features, 3);
          const HostWeight part = weight.host();
          const HostWeight bias_part = bias.host();
          const auto packed = backend->device().pack_linear({&part, 1}, {&bias_part, 1}, stored_so(type));
          REQUIRE(packed.ok());
          Tensor out = random_tensor(ComputeType::kF32, rows, features, 99);
          const Tensor before = out;
          backend->operations().linear(in.matrix(), **packed, LinearEpilogue::kAdd, out.matrix());
          INFO(cpu::isa_name(isa) << " " << format_name(kind.format) << " group " << kind.format.group << " columns "
                                  << columns << " " << format_name(type));
          double worst = 0;
          for (std::int64_t row = 0; row < rows; ++row) {
            const std::vector<double> activations = rounded_row(in, row, kind.group);
            for (std::int64_t feature = 0; feature < features; ++feature) {
              double sum = double{bias.at(0, feature)} + before.at(row, feature);
              double magnitude = std::abs(sum);
              for (std::int64_t k = 0; k < columns; ++k) {
                const double number = numbers[static_cast<std::size_t>(feature * columns + k)];
                // A number with a least is a difference of two larger ones.
                sum += activations[static_cast<std::size_t>(k)] * number;
                magnitude += std::abs(activations[static_cast<std::size_t>(k)]) * (std::abs(number) + 1.0);
              }
              worst = std::max(worst, std::abs(out.at(row, feature) - sum) / (2e-6 * magnitude + 1e-12));
            }
          }
          CHECK(worst <= 1.0);
        }
      }
    }
  }
}

TEST_CASE("a quantised row's bits depend on that row alone", "[quantised]") {
  for (const Format& kind : kFormats) {
    const std::int64_t columns = kind.columns.back();
    const std::int64_t features = 100;
    const std::int64_t rows = 131;
    const Quantised weight = random_quantised(kind.format, features, columns, 11);
    const HostWeight part = weight.host();
    Tensor in = random_tensor(ComputeType::kBF16, rows, columns, 5);
    Tensor expected;
    for (const cpu::Isa isa : runnable_isas()) {
      if (isa == cpu::Isa::kAvx2) {
        expected = Tensor();  // the portable loops round twice where others round once
      }
      for (const int threads : {1, 2, 3}) {
        const auto backend = make_backend(threads, isa);
        const auto packed = backend->device().pack_linear({&part, 1}, {}, stored_so(ComputeType::kBF16));
        REQUIRE(packed.ok());
        for (const std::int64_t count : {1, 2, 3, 4, 5, 6, 7, 13, 48, 49, 131}) {
          if (isa == cpu::Isa::kGeneric && (threads == 3 || (count != 1 && count != 7 && count != 131))) {
            continue;  // the same loops, slowly
          }
          Tensor out(ComputeType::kF32, rows, features);
          for (std::int64_t begin = 0; begin < rows; begin += count) {
            const std::int64_t now = std::min(count, rows - begin);
            backend->operations().linear(in.matrix().rows_from(begin).first_rows(now), **packed, LinearEpilogue::kStore,
                                         out.matrix().rows_from(begin).first_rows(now));
          }
          if (expected.bytes.empty()) {
            expected = out;
          }
          INFO(cpu::isa_name(isa) << " " << format_name(kind.format) << " threads " << threads << " rows " << count);
          CHECK((out.bytes == expected.bytes));
        }
      }
    }
  }
}

TEST_CASE("parts in several formats are one weight", "[quantised]") {
  const std::int64_t columns = 256;
  const Quantised q = random_quantised({WeightKind::kQ4_K}, 40, columns, 1);
  const Quantised k = random_quantised({WeightKind::kQ4_K}, 24, columns, 2);
  const Quantised v = random_quantised({WeightKind::kQ6_K}, 24, columns, 3);
  const Tensor dense = random_tensor(ComputeType::kF16, 9, columns, 4);
  const std::vector<HostWeight> parts = {q.host(), k.host(), v.host(), dense.host()};
  const Tensor bias = random_tensor(ComputeType::kF32, 1, 24, 5);
  const std::vector<HostWeight> biases = {{}, {}, bias.host(), {}};
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(2, isa);
    Tensor in = random_tensor(ComputeType::kF32, 5, columns, 6);
    Tensor whole(ComputeType::kF32, 5, 97);
    const auto packed = backend->device().pack_linear(parts, biases, stored_so(ComputeType::kF32));
    REQUIRE(packed.ok());
    backend->operations().linear(in.matrix(), **packed, LinearEpilogue::kStore, whole.matrix());
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto alone = backend->device().pack_linear({&parts[i], 1}, {&biases[i], 1}, stored_so(ComputeType::kF32));
      REQUIRE(alone.ok());
      Tensor out(ComputeType::kF32, 5, parts[i].rows);
      backend->operations().linear(in.matrix(), **alone, LinearEpilogue::kStore, out.matrix());
      for (std::int64_t row = 0; row < 5; ++row) {
        for (std::int64_t column = 0; column < out.columns; ++column) {
          REQUIRE(whole.at(row, begin + column) == out.at(row, column));
        }
      }
      begin += parts[i].rows;
    }
  }
}

TEST_CASE("dense weights are quantised when they are packed", "[quantised]") {
  const auto backend = make_backend(2, cpu::best_isa());
  const std::int64_t columns = 600;
  const Tensor weight = random_tensor(ComputeType::kBF16, 96, columns, 1);
  const HostWeight part = weight.host();
  Tensor in = random_tensor(ComputeType::kF32, 4, columns, 2);
  struct Case {
    WeightFormat format;
    double error;  // most, of a normal number's deviation
  };
  for (const Case& wanted : {Case{{WeightKind::kInt8, 0}, 0.02}, Case{{WeightKind::kInt8, 128}, 0.015},
                             Case{{WeightKind::kInt4, 32}, 0.11}, Case{{WeightKind::kInt4, 128}, 0.14}}) {
    const auto packed = backend->device().pack_linear({&part, 1}, {}, {ComputeType::kF32, wanted.format});
    REQUIRE(packed.ok());
    CHECK((*packed)->bytes() < weight.bytes.size() * 7 / 10);
    Tensor out(ComputeType::kF32, 4, 96);
    backend->operations().linear(in.matrix(), **packed, LinearEpilogue::kStore, out.matrix());
    double squares = 0;
    for (std::int64_t row = 0; row < 4; ++row) {
      for (std::int64_t feature = 0; feature < 96; ++feature) {
        double sum = 0;
        for (std::int64_t k = 0; k < columns; ++k) {
          sum += double{in.at(row, k)} * weight.at(feature, k);
        }
        squares += (out.at(row, feature) - sum) * (out.at(row, feature) - sum) / static_cast<double>(columns);
      }
    }
    INFO(format_name(wanted.format) << " " << wanted.format.group);
    CHECK(std::sqrt(squares / (4 * 96)) <= wanted.error);
  }
}

TEST_CASE("an activation that is no number is not hidden by quantised weights", "[quantised]") {
  const Quantised weight = random_quantised({WeightKind::kQ4_0}, 40, 64, 1);
  const HostWeight part = weight.host();
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(1, isa);
    const auto packed = backend->device().pack_linear({&part, 1}, {}, stored_so(ComputeType::kF32));
    REQUIRE(packed.ok());
    for (const float bad : {NAN, INFINITY}) {
      Tensor in = random_tensor(ComputeType::kF32, 2, 64, 2);
      in.set(0, 37, bad);
      Tensor out(ComputeType::kF32, 2, 40);
      backend->operations().linear(in.matrix(), **packed, LinearEpilogue::kStore, out.matrix());
      CHECK(std::isnan(out.at(0, 0)));
      CHECK(std::isfinite(out.at(1, 0)));
    }
  }
}

// The last group of a row may have any number of columns, and every one of them counts.
TEST_CASE("a last number far from the others of its group keeps its size in 4 bits", "[quantised]") {
  for (const std::int64_t columns : {5, 6, 7, 33, 66, 71}) {
    Tensor weight = random_tensor(ComputeType::kF32, 1, columns, 1);
    weight.set(0, columns - 1, 20.0F);
    QuantisedRowReader reader({WeightKind::kInt4, 128}, cpu::best_isa());
    reader.begin(weight.host());
    const QuantisedChunk chunk = reader.chunk(0, 128);
    const float found = chunk.scale * static_cast<float>(chunk.parts.bits[static_cast<std::size_t>(columns - 1)]);
    INFO(columns);
    CHECK(found + chunk.least == Approx(20.0).margin(1.0));
  }
}

// The inverse of their scale is infinite.
TEST_CASE("weights too small for a scale in 8 bits are zeros", "[quantised]") {
  Tensor weight(ComputeType::kF32, 1, 4);
  weight.set(0, 1, 1e-38F);
  weight.set(0, 2, -5e-39F);
  QuantisedRowReader reader({WeightKind::kInt8}, cpu::best_isa());
  reader.begin(weight.host());
  const QuantisedChunk chunk = reader.chunk(0, 4);
  for (const std::size_t column : {0, 1, 2, 3}) {
    INFO(column);
    CHECK(chunk.parts.bits[column] == zero_of(WeightKind::kInt8));
  }
}

TEST_CASE("a weight that is too large for 4 bits is refused", "[quantised]") {
  const auto backend = make_backend(2, cpu::best_isa());
  Tensor weight = random_tensor(ComputeType::kF32, 40, 64, 1);
  weight.set(39, 63, -70000.0F);
  const HostWeight part = weight.host();
  const auto packed =
      backend->device().pack_linear({&part, 1}, {}, {ComputeType::kF32, WeightFormat{WeightKind::kInt4, 32}});
  CHECK(packed.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(backend->device().pack_linear({&part, 1}, {}, {ComputeType::kF32, WeightFormat{WeightKind::kInt8}}).ok());
}

TEST_CASE("groups that cannot be multiplied are refused", "[quantised]") {
  const auto backend = make_backend(1, cpu::best_isa());
  CHECK(backend->device().supports({ComputeType::kF32, WeightFormat{WeightKind::kInt4, 96}}) == Support::kNone);
  CHECK(backend->device().supports({ComputeType::kF32, WeightFormat{WeightKind::kInt4, 16}}) == Support::kNone);
  CHECK(backend->device().supports({ComputeType::kF32, WeightFormat{WeightKind::kInt4, 64}}) != Support::kNone);
}

}  // namespace
}  // namespace coppice::kernels::test
