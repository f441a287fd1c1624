// Matrix products: parity with a float64 reference, and the promise that a row's bits are the same for every number of
// rows and of threads. CMake runs this program three times: as the machine is, and with oneDNN held to AVX2 and to
// AVX-512 without bf16, where other kernels have to keep the same promise.
#include <catch2/catch.hpp>

#include "dnnl.h"
#include "kernel_support.h"
#include "kernels/cpu/linear_body.h"
#include "kernels/cpu/step_matmul.h"

namespace coppice::kernels::test {
namespace {

struct Shape {
  std::int64_t in_features;
  std::int64_t out_features;
};

// Tiny, odd, one off a block, and the demo model's.
const std::vector<Shape> kSmallShapes = {{64, 105},  {64, 64},  {172, 64},  {64, 344},  {8, 8},    {24, 8},
                                         {1, 1},     {3, 5},    {7, 33},    {65, 129},  {130, 50}, {288, 288},
                                         {768, 288}, {33, 512}, {1023, 31}, {4096, 16}, {20, 2000}};
// Of the 160m and 1b shapes: qkv, attention output, gate and up, down.
const std::vector<Shape> kModelShapes = {{768, 2304},  {768, 768},   {768, 6144},   {3072, 768},
                                         {2048, 2560}, {2048, 2048}, {2048, 11264}, {5632, 2048}};

struct Types {
  ComputeType in;
  ComputeType out;
  LinearEpilogue epilogue;
};
const std::vector<Types> kTypes = {{ComputeType::kF32, ComputeType::kF32, LinearEpilogue::kStore},
                                   {ComputeType::kF32, ComputeType::kF32, LinearEpilogue::kAdd},
                                   {ComputeType::kBF16, ComputeType::kF32, LinearEpilogue::kStore},
                                   {ComputeType::kBF16, ComputeType::kF32, LinearEpilogue::kAdd},
                                   {ComputeType::kBF16, ComputeType::kBF16, LinearEpilogue::kStore}};

Tensor output_for(const Types& types, std::int64_t rows, std::int64_t columns) {
  return types.epilogue == LinearEpilogue::kAdd ? random_tensor(types.out, rows, columns, 99)
                                                : Tensor(types.out, rows, columns);
}

// Largest error over tolerance; at most 1 is right.
double worst_error(const Tensor& in, const Tensor& weight, const std::vector<float>& bias, const Tensor& before,
                   const Tensor& out) {
  const Tolerance tolerance = tolerance_of(out.dtype);
  double worst = 0;
  for (std::int64_t row = 0; row < in.rows; ++row) {
    for (std::int64_t column = 0; column < weight.rows; ++column) {
      const double first = (bias.empty() ? 0.0 : double{bias[static_cast<std::size_t>(column)]}) +
                           (before.rows > 0 ? double{before.at(row, column)} : 0.0);
      double sum = first;
      double magnitude = std::abs(first);
      for (std::int64_t k = 0; k < in.columns; ++k) {
        const double product = double{in.at(row, k)} * weight.at(column, k);
        sum += product;
        magnitude += std::abs(product);
      }
      const double allowed = tolerance.absolute * magnitude + tolerance.relative * std::abs(sum) + 1e-30;
      worst = std::max(worst, std::abs(out.at(row, column) - sum) / allowed);
    }
  }
  return worst;
}

TEST_CASE("linear agrees with float64 on every instruction set", "[linear]") {
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(2, isa);
    REQUIRE(backend);
    for (const Shape& shape : kSmallShapes) {
      for (const Types& types : kTypes) {
        const std::int64_t rows = 1 + (shape.in_features + shape.out_features) % 7;
        Tensor in = random_tensor(types.in, rows, shape.in_features, 1);
        const Tensor weight = random_tensor(types.in, shape.out_features, shape.in_features, 2);
        const Tensor bias = random_tensor(ComputeType::kF32, 1, shape.out_features, 3);
        const bool with_bias = shape.in_features % 2 == 0;
        const HostWeight part = weight.host();
        const HostWeight bias_part = bias.host();
        const auto packed = with_bias
                                ? backend->device().pack_linear({&part, 1}, {&bias_part, 1}, dense_packing(types.in))
                                : backend->device().pack_linear({&part, 1}, {}, dense_packing(types.in));
        REQUIRE(packed.ok());
        Tensor out = output_for(types, rows, shape.out_features);
        const Tensor before = types.epilogue == LinearEpilogue::kAdd ? out : Tensor();
        backend->operations().linear(in.matrix(), **packed, types.epilogue, out.matrix());
        std::vector<float> bias_numbers;
        for (std::int64_t i = 0; with_bias && i < bias.columns; ++i) {
          bias_numbers.push_back(bias.at(0, i));
        }
        INFO(cpu::isa_name(isa) << " " << shape.in_features << " x " << shape.out_features << " "
                                << format_name(types.in) << " to " << format_name(types.out));
        CHECK(worst_error(in, weight, bias_numbers, before, out) <= 1.0);
      }
    }
  }
}

TEST_CASE("pack_linear stacks parts, converts types and takes a bias for some parts only", "[linear]") {
  const std::int64_t hidden = 70;
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(2, isa);
    for (const ComputeType source : {ComputeType::kF32, ComputeType::kBF16, ComputeType::kF16}) {
      for (const ComputeType target : {ComputeType::kF32, ComputeType::kBF16}) {
        const Tensor parts[] = {random_tensor(source, 40, hidden, 1), random_tensor(source, 9, hidden, 2),
                                random_tensor(source, 150, hidden, 3)};
        const Tensor bias = random_tensor(source, 1, 9, 4);
        const HostWeight hosts[] = {parts[0].host(), parts[1].host(), parts[2].host()};
        const HostWeight biases[] = {HostWeight{}, bias.host(), HostWeight{}};
        const auto packed = backend->device().pack_linear(hosts, biases, dense_packing(target));
        REQUIRE(packed.ok());
        CHECK((*packed)->out_features() == 199);
        Tensor stacked(target, 199, hidden);
        std::vector<float> bias_numbers(199, 0.0F);
        std::int64_t row = 0;
        for (const Tensor& part : parts) {
          for (std::int64_t i = 0; i < part.rows; ++i, ++row) {
            for (std::int64_t k = 0; k < hidden; ++k) {
              stacked.set(row, k, part.at(i, k));
            }
          }
        }
        for (std::int64_t i = 0; i < 9; ++i) {
          bias_numbers[static_cast<std::size_t>(40 + i)] = bias.at(0, i);
        }
        Tensor in = random_tensor(target, 3, hidden, 5);
        Tensor out(ComputeType::kF32, 3, 199);
        backend->operations().linear(in.matrix(), **packed, LinearEpilogue::kStore, out.matrix());
        INFO(cpu::isa_name(isa) << " " << format_name(source) << " as " << format_name(target));
        CHECK(worst_error(in, stacked, bias_numbers, Tensor(), out) <= 1.0);
      }
    }
  }
}

// Rows whose bits differ from `known`, which holds the rows of smaller batches and learns the new ones.
std::int64_t differing_rows(const Tensor& out, Tensor& known, std::int64_t& known_rows) {
  std::int64_t differing = 0;
  for (std::int64_t row = 0; row < out.rows; ++row) {
    const auto bytes = out.row_bytes(row);
    const auto expected = known.row_bytes(row);
    if (row < known_rows) {
      differing += std::memcmp(bytes.data(), expected.data(), bytes.size()) == 0 ? 0 : 1;
    } else {
      std::memcpy(known.bytes.data() + (expected.data() - known.bytes.data()), bytes.data(), bytes.size());
    }
  }
  known_rows = std::max(known_rows, out.rows);
  return differing;
}

// One thread runs every row count; the larger teams (eight threads are many on a small machine) a few of them.
void check_bits(const Shape& shape, const Types& types, cpu::Isa isa, std::span<const std::int64_t> row_counts) {
  const std::int64_t rows_max = row_counts.back();
  const std::vector<std::int64_t> few = {1, 5, 33, rows_max};
  const Tensor in = random_tensor(types.in, rows_max, shape.in_features, 1);
  const Tensor weight = random_tensor(types.in, shape.out_features, shape.in_features, 2);
  const Tensor bias = random_tensor(ComputeType::kF32, 1, shape.out_features, 3);
  const Tensor before = output_for(types, rows_max, shape.out_features);
  Tensor known(types.out, rows_max, shape.out_features);
  std::int64_t known_rows = 0;
  for (const int threads : {1, 2, 8}) {
    const auto backend = make_backend(threads, isa);
    REQUIRE(backend);
    const HostWeight part = weight.host();
    const HostWeight bias_part = bias.host();
    const auto packed = backend->device().pack_linear({&part, 1}, {&bias_part, 1}, dense_packing(types.in));
    REQUIRE(packed.ok());
    for (const std::int64_t rows : threads == 1 ? row_counts : std::span<const std::int64_t>(few)) {
      Tensor batch(types.in, rows, shape.in_features);
      std::memcpy(batch.bytes.data(), in.bytes.data(), batch.bytes.size());
      Tensor out(types.out, rows, shape.out_features);
      std::memcpy(out.bytes.data(), before.bytes.data(), out.bytes.size());
      backend->operations().linear(batch.matrix(), **packed, types.epilogue, out.matrix());
      INFO(cpu::isa_name(isa) << " " << shape.in_features << " x " << shape.out_features << " " << format_name(types.in)
                              << " to " << format_name(types.out) << ", " << rows << " rows, " << threads
                              << " threads");
      CHECK(differing_rows(out, known, known_rows) == 0);
    }
  }
}

TEST_CASE("a row's bits are the same in every batch and with any threads: small shapes", "[linear][bits]") {
  const std::vector<std::int64_t> row_counts = {1,  2,  3,  4,  5,  6,  7,  8,   9,   11,  13, 16,
                                                17, 24, 33, 49, 63, 64, 65, 127, 129, 200, 512};
  for (const cpu::Isa isa : runnable_isas()) {
    for (const Shape& shape : kSmallShapes) {
      for (const Types& types : kTypes) {
        check_bits(shape, types, isa, row_counts);
      }
    }
  }
}

// Products of such weights with numbers of one exponent are exact in any order: they do not tell chains apart.
TEST_CASE("a row's bits are the same in every batch: weights of one magnitude, and no bias", "[linear][bits]") {
  const std::int64_t in_features = 3072;
  const std::int64_t out_features = 64;
  const std::int64_t rows_max = 17;
  const auto backend = make_backend(2, cpu::best_isa());
  Tensor in = random_tensor(ComputeType::kBF16, rows_max, in_features, 1);
  const Tensor before = random_tensor(ComputeType::kF32, rows_max, out_features, 3);
  Tensor weight = random_tensor(ComputeType::kBF16, out_features, in_features, 2);
  for (const bool is_ternary : {false, true}) {
    for (std::int64_t i = 0; is_ternary && i < out_features * in_features; ++i) {
      weight.set(i / in_features, i % in_features, weight.at(i / in_features, i % in_features) < 0 ? -1.0F : 1.0F);
    }
    const HostWeight part = weight.host();
    const auto packed = backend->device().pack_linear({&part, 1}, {}, dense_packing(ComputeType::kBF16));
    REQUIRE(packed.ok());
    for (const LinearEpilogue epilogue : {LinearEpilogue::kStore, LinearEpilogue::kAdd}) {
      Tensor known(ComputeType::kF32, rows_max, out_features);
      std::int64_t known_rows = 0;
      for (const std::int64_t rows : {1, 2, 6, 7, 17}) {
        Tensor out = before;
        Matrix rows_in = in.matrix();
        Matrix rows_out = out.matrix();
        rows_in.rows = rows_out.rows = rows;
        backend->operations().linear(rows_in, **packed, epilogue, rows_out);
        out.rows = rows;
        INFO(rows << " rows, ternary " << is_ternary);
        CHECK(differing_rows(out, known, known_rows) == 0);
      }
    }
  }
}

// AMX kernels may split a sum over threads. A machine without AMX cannot fail this; one with it does where the limit is
// gone, even while the shapes of the other cases happen to keep their bits.
TEST_CASE("oneDNN does not use AMX", "[linear][bits]") {
  const auto backend = make_backend(2, cpu::best_isa());
  CHECK(dnnl_get_effective_cpu_isa() <= dnnl_cpu_isa_avx512_core_bf16);
}

// Without it every bf16 row would quietly stay with oneDNN, or the bits of a small batch would not be those of a large
// one, which the two cases above see.
TEST_CASE("a step's bf16 rows give the bits of oneDNN's chains", "[linear][bits]") {
  const auto backend = make_backend(2, cpu::best_isa());  // first: it may limit what oneDNN uses
  const dnnl_version_t& version = *dnnl_version();
  if (dnnl_get_effective_cpu_isa() < dnnl_cpu_isa_avx512_core_bf16 || version.major != 2 || version.minor != 6) {
    WARN("not compared: no AVX-512-BF16, or a oneDNN whose chains are not known");
    return;
  }
  const cpu::CpuContext context{.threads = 2, .isa = cpu::Isa::kAvx512Bf16};
  const cpu::StepMatmul step(context);
  for (const Shape& shape : {Shape{576, 200}, Shape{1024, 64}, Shape{1026, 64}, Shape{4096, 300}}) {
    const std::int64_t rows = cpu::kStepRows + 1;  // one more than it takes
    Tensor in = random_tensor(ComputeType::kBF16, rows, shape.in_features, 1);
    const Tensor weight = random_tensor(ComputeType::kBF16, shape.out_features, shape.in_features, 2);
    const HostWeight part = weight.host();
    const auto packed = backend->device().pack_linear({&part, 1}, {}, dense_packing(ComputeType::kBF16));
    REQUIRE(packed.ok());
    Tensor expected(ComputeType::kF32, rows, shape.out_features);
    backend->operations().linear(in.matrix(), **packed, LinearEpilogue::kStore, expected.matrix());

    const cpu::PanelLayout layout{
        .type = ComputeType::kBF16, .in_features = shape.in_features, .out_features = shape.out_features, .width = 64};
    const auto panels = cpu::pack_panels(context, {&part, 1}, layout);
    REQUIRE(panels.ok());
    CHECK_FALSE(step.takes(in.matrix(), layout));
    Matrix few = in.matrix();
    few.rows = cpu::kStepRows;
    CHECK(step.takes(few, layout));
    Tensor found(ComputeType::kF32, few.rows, shape.out_features);
    const auto differing = [&](std::int64_t chain) {
      step.run(few, layout, panels->data(), chain, nullptr, LinearEpilogue::kStore, found.matrix());
      return std::memcmp(found.bytes.data(), expected.bytes.data(), found.bytes.size()) != 0;
    };
    INFO(shape.in_features << " x " << shape.out_features);
    const bool is_long = shape.in_features > 1024;
    CHECK_FALSE(differing(is_long ? 512 : 256));
    CHECK(differing(is_long ? 256 : 512));
  }
}

TEST_CASE("a row's bits are the same in every batch and with any threads: model shapes", "[linear][bits]") {
  const std::vector<std::int64_t> row_counts = {1, 2, 3, 5, 8, 16, 33, 64, 100, 512};
  for (const Shape& shape : kModelShapes) {
    for (const Types& types : {kTypes[0], kTypes[3], kTypes[4]}) {
      check_bits(shape, types, cpu::best_isa(), row_counts);
    }
  }
  const std::vector<std::int64_t> many_rows = {1, 7, 2048};
  check_bits({768, 2304}, kTypes[2], cpu::best_isa(), many_rows);
  check_bits({768, 2304}, kTypes[0], cpu::best_isa(), many_rows);
}

TEST_CASE("a row's bits do not depend on strides or on its place in the batch", "[linear][bits]") {
  const std::int64_t hidden = 96;
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(2, isa);
    for (const ComputeType dtype : {ComputeType::kF32, ComputeType::kBF16}) {
      Tensor wide = random_tensor(dtype, 20, 3 * hidden, 1);
      const Tensor weight = random_tensor(dtype, 80, hidden, 2);
      const HostWeight part = weight.host();
      const auto packed = backend->device().pack_linear({&part, 1}, {}, dense_packing(dtype));
      REQUIRE(packed.ok());
      // Columns [hidden, 2 hidden) of every row, into columns [7, 87) of a wider output.
      Tensor out(ComputeType::kF32, 20, 100);
      const auto step = static_cast<std::ptrdiff_t>(element_bytes(dtype));
      backend->operations().linear({wide.bytes.data() + hidden * step, dtype, 20, hidden, 3 * hidden}, **packed,
                                   LinearEpilogue::kStore, {out.bytes.data() + 7 * 4, ComputeType::kF32, 20, 80, 100});
      for (const std::int64_t row : {0, 1, 7, 19}) {
        Tensor single(dtype, 1, hidden);
        std::memcpy(single.bytes.data(), wide.row_bytes(row).data() + hidden * step, single.bytes.size());
        Tensor answer(ComputeType::kF32, 1, 80);
        backend->operations().linear(single.matrix(), **packed, LinearEpilogue::kStore, answer.matrix());
        CHECK(std::memcmp(answer.bytes.data(), out.row_bytes(row).data() + 7 * 4, answer.bytes.size()) == 0);
        CHECK(out.at(row, 6) == 0.0F);
        CHECK(out.at(row, 87) == 0.0F);
      }
    }
  }
}

TEST_CASE("pack_linear refuses what it cannot pack, with a reason", "[linear]") {
  const auto backend = make_backend(1);
  const Tensor a = random_tensor(ComputeType::kF32, 4, 8, 1);
  const Tensor b = random_tensor(ComputeType::kF32, 4, 9, 2);
  const HostWeight unequal[] = {a.host(), b.host()};
  CHECK(backend->device().pack_linear(unequal, {}, dense_packing(ComputeType::kF32)).status().code() ==
        absl::StatusCode::kInvalidArgument);
  const HostWeight one = a.host();
  const HostWeight bias = b.host();
  CHECK(backend->device().pack_linear({&one, 1}, {&bias, 1}, dense_packing(ComputeType::kF32)).status().code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(backend->device().pack_linear({&one, 1}, {}, dense_packing(ComputeType::kF16)).status().code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(backend->device().pack_linear({}, {}, dense_packing(ComputeType::kF32)).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("NaN and infinity in one row stay in that row", "[linear]") {
  const auto backend = make_backend(2);
  for (const ComputeType dtype : {ComputeType::kF32, ComputeType::kBF16}) {
    Tensor in = random_tensor(dtype, 9, 65, 1);
    const Tensor weight = random_tensor(dtype, 70, 65, 2);
    const HostWeight part = weight.host();
    const auto packed = backend->device().pack_linear({&part, 1}, {}, dense_packing(dtype));
    REQUIRE(packed.ok());
    Tensor clean(ComputeType::kF32, 9, 70);
    backend->operations().linear(in.matrix(), **packed, LinearEpilogue::kStore, clean.matrix());
    in.set(4, 64, INFINITY);
    Tensor out(ComputeType::kF32, 9, 70);
    backend->operations().linear(in.matrix(), **packed, LinearEpilogue::kStore, out.matrix());
    for (std::int64_t row = 0; row < 9; ++row) {
      const bool same = std::memcmp(clean.row_bytes(row).data(), out.row_bytes(row).data(), 280) == 0;
      CHECK(same == (row != 4));
    }
  }
}

}  // namespace
}  // namespace coppice::kernels::test
