// The row-wise operations against float64 on every instruction set, and that a row knows nothing of its neighbours.
#include <catch2/catch.hpp>

#include "kernel_support.h"
#include "kernels/cpu/elementwise_body.h"
#include "kernels/host/convert_body.h"

namespace coppice::kernels::test {
namespace {

const std::vector<std::int64_t> kWidths = {1, 7, 8, 15, 16, 17, 64, 65, 172, 288, 1000, 2048};

double error_over_tolerance(double got, double wanted, double magnitude, ComputeType dtype) {
  const Tolerance tolerance = tolerance_of(dtype);
  return std::abs(got - wanted) / (tolerance.absolute * magnitude + tolerance.relative * std::abs(wanted) + 1e-38);
}

TEST_CASE("embed copies rows of any type as f32, exactly", "[elementwise]") {
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(2, isa);
    for (const ComputeType dtype : {ComputeType::kF32, ComputeType::kBF16, ComputeType::kF16}) {
      for (const std::int64_t hidden : kWidths) {
        Tensor table = random_tensor(dtype, 11, hidden, 3);
        const std::vector<TokenId> tokens = {10, 0, 3, 3, 7};
        Tensor out(ComputeType::kF32, 5, hidden);
        backend->operations().embed(tokens, table_of(table.matrix()), out.matrix());
        std::int64_t wrong = 0;
        for (std::int64_t row = 0; row < 5; ++row) {
          for (std::int64_t i = 0; i < hidden; ++i) {
            wrong += out.at(row, i) == table.at(tokens[static_cast<std::size_t>(row)], i) ? 0 : 1;
          }
        }
        INFO(cpu::isa_name(isa) << " " << format_name(dtype) << " " << hidden);
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("every half and every bf16 converts exactly; f32 rounds to the nearest bf16, ties to even", "[elementwise]") {
  std::vector<std::uint16_t> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<std::uint16_t>(i);
  }
  for (const cpu::Isa isa : runnable_isas()) {
    const cpu::ConvertBody& body = COPPICE_SELECT_BODY(isa, convert_body);
    std::vector<float> out(all.size());
    for (const ComputeType dtype : {ComputeType::kF16, ComputeType::kBF16}) {
      body.to_f32(all.data(), dtype, 65536, out.data());
      std::int64_t wrong = 0;
      for (std::size_t i = 0; i < all.size(); ++i) {
        const float wanted = dtype == ComputeType::kF16 ? from_f16(all[i]) : from_bf16(all[i]);
        const bool same = std::isnan(wanted)
                              ? std::isnan(out[i])
                              : std::bit_cast<std::uint32_t>(wanted) == std::bit_cast<std::uint32_t>(out[i]);
        wrong += same ? 0 : 1;
      }
      CHECK(wrong == 0);
    }
    // Every bf16 pattern with every interesting tail.
    std::vector<float> in;
    for (const std::uint32_t tail : {0x0U, 0x1U, 0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU}) {
      for (std::uint32_t upper = 0; upper < 65536; ++upper) {
        in.push_back(std::bit_cast<float>(upper << 16 | tail));
      }
    }
    std::vector<std::uint16_t> rounded(in.size());
    body.to_bf16(in.data(), ComputeType::kF32, std::ssize(in), rounded.data());
    std::int64_t wrong = 0;
    for (std::size_t i = 0; i < in.size(); ++i) {
      const bool same = std::isnan(in[i]) ? std::isnan(from_bf16(rounded[i])) : rounded[i] == to_bf16(in[i]);
      wrong += same ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("rms_norm in place is rms_norm", "[elementwise]") {
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(2, isa);
    for (const std::int64_t hidden : kWidths) {
      Tensor x = random_tensor(ComputeType::kF32, 3, hidden, 5);
      const Tensor weight = random_tensor(ComputeType::kF32, 1, hidden, 6);
      const auto* const weights = reinterpret_cast<const float*>(weight.bytes.data());
      Tensor out(ComputeType::kF32, 3, hidden);
      backend->operations().rms_norm(x.matrix(), weights, 1e-5F, out.matrix());
      backend->operations().rms_norm(x.matrix(), weights, 1e-5F, x.matrix());
      CHECK(x.bytes == out.bytes);
    }
  }
}

TEST_CASE("rms_norm agrees with float64", "[elementwise]") {
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(2, isa);
    for (const ComputeType out_dtype : {ComputeType::kF32, ComputeType::kBF16}) {
      for (const std::int64_t hidden : kWidths) {
        Tensor x = random_tensor(ComputeType::kF32, 5, hidden, 1);
        const Tensor weight = random_tensor(ComputeType::kF32, 1, hidden, 2);
        Tensor out(out_dtype, 5, hidden);
        const auto* numbers = reinterpret_cast<const float*>(weight.bytes.data());
        backend->operations().rms_norm(x.matrix(), numbers, 1e-5F, out.matrix());
        double worst = 0;
        for (std::int64_t row = 0; row < 5; ++row) {
          double squares = 0;
          for (std::int64_t i = 0; i < hidden; ++i) {
            squares += double{x.at(row, i)} * x.at(row, i);
          }
          const double scale = 1 / std::sqrt(squares / static_cast<double>(hidden) + double{1e-5F});
          for (std::int64_t i = 0; i < hidden; ++i) {
            const double wanted = x.at(row, i) * scale * weight.at(0, i);
            worst = std::max(worst, error_over_tolerance(out.at(row, i), wanted, 0, out_dtype));
          }
        }
        INFO(cpu::isa_name(isa) << " " << format_name(out_dtype) << " " << hidden);
        CHECK(worst <= 1.0);
      }
    }
  }
}

TEST_CASE("swiglu agrees with float64, saturates and passes zero", "[elementwise]") {
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(2, isa);
    for (const auto& [in_dtype, out_dtype] :
         {std::pair{ComputeType::kF32, ComputeType::kF32}, std::pair{ComputeType::kF32, ComputeType::kBF16},
          std::pair{ComputeType::kBF16, ComputeType::kBF16}}) {
      for (const std::int64_t width : kWidths) {
        Tensor gate_up = random_tensor(in_dtype, 4, 2 * width, 1);
        const float extremes[] = {0.0F, 100.0F, -100.0F, 3e38F, -3e38F, 1e-30F, -87.0F, -104.0F};
        for (std::int64_t i = 0; i < std::min<std::int64_t>(8, width); ++i) {
          gate_up.set(3, i, extremes[i]);
          gate_up.set(3, width + i, 0.5F);
        }
        Tensor out(out_dtype, 4, width);
        backend->operations().swiglu(gate_up.matrix(), out.matrix());
        double worst = 0;
        for (std::int64_t row = 0; row < 4; ++row) {
          for (std::int64_t i = 0; i < width; ++i) {
            const double gate = gate_up.at(row, i);
            const double wanted = gate / (1 + std::exp(-gate)) * gate_up.at(row, width + i);
            // Below the normal numbers only the absolute error counts.
            worst =
                std::max(worst, std::abs(wanted) < 1e-36 ? std::abs(out.at(row, i)) / 1e-35
                                                         : error_over_tolerance(out.at(row, i), wanted, 0, out_dtype));
          }
        }
        INFO(cpu::isa_name(isa) << " " << format_name(in_dtype) << " to " << format_name(out_dtype) << " " << width);
        CHECK(worst <= 1.0);
      }
    }
  }
}

TEST_CASE("the exponential under silu is right to two units in the last place", "[elementwise]") {
  // silu(x) = x / (1 + e^-x) with up = 1 and x negative: silu(x) / x = 1 / (1 + e^-x), about e^x for x < -20, where
  // every unit of the exponential shows.
  for (const cpu::Isa isa : runnable_isas()) {
    const cpu::ElementwiseBody& body = COPPICE_SELECT_BODY(isa, elementwise_body);
    std::vector<float> gate;
    for (float x = -80.0F; x < -20.0F; x += 0.000917F) {
      gate.push_back(x);
    }
    const std::vector<float> up(gate.size(), 1.0F);
    std::vector<float> out(gate.size());
    body.swiglu(gate.data(), up.data(), ComputeType::kF32, std::ssize(gate), out.data(), ComputeType::kF32);
    double worst = 0;
    for (std::size_t i = 0; i < gate.size(); ++i) {
      const double wanted = gate[i] / (1 + std::exp(-double{gate[i]}));
      worst = std::max(worst, std::abs(out[i] / wanted - 1) * 0x1.0p24);
    }
    INFO(cpu::isa_name(isa) << ": " << worst << " half units");  // division and sum round once each too
    CHECK(worst < 5.0);
  }
}

TEST_CASE("numbers of 8 bits are the nearest, ties to even, and the same on every instruction set", "[elementwise]") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float most = std::numeric_limits<float>::max();
  const float least = std::numeric_limits<float>::denorm_min();
  std::vector<float> ties = {127, -127};  // the scale is 1
  for (float tie = -126.5F; tie < 127; ++tie) {
    ties.push_back(tie);
  }
  std::vector<float> spread(256);
  for (std::size_t i = 0; i < spread.size(); ++i) {
    spread[i] = std::sin(static_cast<float>(i * i)) * 0.0173F;
  }
  const std::vector<std::vector<float>> rows = {
      ties, spread, {0, 0, -0.0F, 0, 0, 0, 0, 0}, {most, -most, 1, most / 2}, {least, -3 * least, 0, 2 * least}};
  for (const cpu::Isa isa : runnable_isas()) {
    const cpu::ElementwiseBody& body = COPPICE_SELECT_BODY(isa, elementwise_body);
    for (const std::vector<float>& row : rows) {
      std::vector<std::int8_t> found(row.size());
      const float scale = body.quantise(row.data(), std::ssize(row), found.data());
      float highest = 0;
      for (const float number : row) {
        highest = std::max(highest, std::abs(number));
      }
      CHECK(scale == highest / 127.0F);
      std::vector<std::int8_t> expected;
      for (const float number : row) {
        const float whole = scale > 0 ? std::nearbyint(number / scale) : 0.0F;
        expected.push_back(static_cast<std::int8_t>(std::clamp(whole, -127.0F, 127.0F)));
      }
      INFO(cpu::isa_name(isa) << " " << highest);
      CHECK((found == expected));
    }
    for (const float broken : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
      for (const std::size_t place : {0, 5, 16, 39}) {
        std::vector<float> row(40, 1.0F);
        row[place] = broken;
        std::vector<std::int8_t> found(row.size());
        CHECK(std::isnan(body.quantise(row.data(), std::ssize(row), found.data())));
      }
    }
  }
}

TEST_CASE("gather_rows picks rows in any order, strides and all", "[elementwise]") {
  const auto backend = make_backend(2);
  Tensor in = random_tensor(ComputeType::kF32, 9, 40, 1);
  const std::vector<std::int32_t> rows = {8, 0, 0, 5};
  Tensor out(ComputeType::kF32, 4, 30);
  backend->operations().gather_rows({in.bytes.data(), ComputeType::kF32, 9, 30, 40}, rows, out.matrix());
  for (std::int64_t row = 0; row < 4; ++row) {
    for (std::int64_t i = 0; i < 30; ++i) {
      CHECK(out.at(row, i) == in.at(rows[static_cast<std::size_t>(row)], i));
    }
  }
}

TEST_CASE("a row's bits are the same in every batch and with any threads: row-wise operations", "[elementwise][bits]") {
  const std::int64_t rows = 300;
  for (const cpu::Isa isa : runnable_isas()) {
    for (const std::int64_t width : {48, 172, 1000}) {
      Tensor x = random_tensor(ComputeType::kF32, rows, 2 * width, 1);
      const Tensor weight = random_tensor(ComputeType::kF32, 1, 2 * width, 2);
      const auto* numbers = reinterpret_cast<const float*>(weight.bytes.data());
      const auto alone = make_backend(1, isa);
      for (const int threads : {1, 2, 8}) {
        const auto backend = make_backend(threads, isa);
        Tensor normal(ComputeType::kF32, rows, 2 * width);
        Tensor gated(ComputeType::kBF16, rows, width);
        backend->operations().rms_norm(x.matrix(), numbers, 1e-5F, normal.matrix());
        backend->operations().swiglu(x.matrix(), gated.matrix());
        for (const std::int64_t row : {0, 1, 37, 150, 299}) {
          Tensor single(ComputeType::kF32, 1, 2 * width);
          std::memcpy(single.bytes.data(), x.row_bytes(row).data(), single.bytes.size());
          Tensor one_normal(ComputeType::kF32, 1, 2 * width);
          Tensor one_gated(ComputeType::kBF16, 1, width);
          alone->operations().rms_norm(single.matrix(), numbers, 1e-5F, one_normal.matrix());
          alone->operations().swiglu(single.matrix(), one_gated.matrix());
          CHECK(std::memcmp(one_normal.bytes.data(), normal.row_bytes(row).data(), one_normal.bytes.size()) == 0);
          CHECK(std::memcmp(one_gated.bytes.data(), gated.row_bytes(row).data(), one_gated.bytes.size()) == 0);
        }
      }
    }
  }
}

}  // namespace
}  // namespace coppice::kernels::test
