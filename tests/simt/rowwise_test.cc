// The row-wise kernels of the GPU on the emulator against the CPU backend: every type, row counts and widths that fill
// no vector, rows further apart than they must be, or than 32 bits can count.
#include <catch2/catch.hpp>

#include "kernels/cuda/launch.h"
#include "tests/simt/device_matrix.h"

namespace coppice::kernels::test {
namespace {

struct Size {
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t gap;
};
constexpr std::int64_t kFarGap = std::int64_t{1} << 29;  // elements: the fifth row begins behind 2^31 of them
constexpr Size kSizes[] = {{1, 1, 0},    {3, 7, 2},    {2, 64, 0},   {5, 130, 6},
                           {1, 1024, 4}, {3, 1028, 0}, {2, 2051, 1}, {5, 66, kFarGap}};

// f16 is unknown to the CPU backend: what it computes in f32 from the same numbers is the judge.
ComputeType judge_dtype(ComputeType dtype) {
  return dtype == ComputeType::kF16 ? ComputeType::kF32 : dtype;
}
double tolerance(ComputeType dtype) {
  return dtype == ComputeType::kF32 ? 2e-6 : dtype == ComputeType::kBF16 ? 0x1.0p-7 : 0x1.0p-10;
}

Tensor converted(const Tensor& in, ComputeType dtype) {
  Tensor out(dtype, in.rows, in.columns);
  for (std::int64_t row = 0; row < in.rows; ++row) {
    for (std::int64_t column = 0; column < in.columns; ++column) {
      out.set(row, column, in.at(row, column));
    }
  }
  return out;
}

TEST_CASE("embedding and gathering of rows copy the named rows") {
  const auto cpu = make_backend(1);
  for (const Size size : kSizes) {
    for (const ComputeType dtype : {ComputeType::kF32, ComputeType::kBF16, ComputeType::kF16}) {
      simt::Session session({.seed = 3});
      Tensor table = random_tensor(dtype, 9, size.columns, 1);
      std::vector<TokenId> tokens;
      for (std::int64_t i = 0; i < size.rows; ++i) {
        tokens.push_back(static_cast<TokenId>((i * 5 + 8) % 9));
      }
      Tensor expected(ComputeType::kF32, size.rows, size.columns);
      cpu->operations().embed(tokens, table_of(table.matrix()), expected.matrix());
      DeviceMatrix device_table(table, size.gap);
      DeviceMatrix out(ComputeType::kF32, size.rows, size.columns, size.gap);
      const simt::Buffer<TokenId> device_tokens(std::span<const TokenId>(tokens), "tokens");
      const std::span<const TokenId> named(device_tokens.data(), tokens.size());
      REQUIRE(cuda::launch_embed(named, device_table.matrix(), out.matrix(), {}) == 0);
      CHECK(out.tensor().bytes == expected.bytes);
      if (dtype == ComputeType::kF32) {
        DeviceMatrix gathered(ComputeType::kF32, size.rows, size.columns);
        REQUIRE(cuda::launch_gather(device_table.matrix(), named, gathered.matrix(), {}) == 0);
        CHECK(gathered.tensor().bytes == expected.bytes);
      }
      CHECK(session.report().empty());
    }
  }
}

TEST_CASE("RMSNorm is the CPU's, and a row's does not depend on the others") {
  const auto cpu = make_backend(1);
  for (const Size size : kSizes) {
    for (const ComputeType dtype : {ComputeType::kF32, ComputeType::kBF16, ComputeType::kF16}) {
      simt::Session session({.seed = 4});
      Tensor x = random_tensor(ComputeType::kF32, size.rows, size.columns, 2);
      const Tensor weight = random_tensor(ComputeType::kF32, 1, size.columns, 3);
      Tensor expected(judge_dtype(dtype), size.rows, size.columns);
      const auto* weights = reinterpret_cast<const float*>(weight.bytes.data());
      cpu->operations().rms_norm(x.matrix(), weights, 1e-5F, expected.matrix());
      DeviceMatrix device_x(x, size.gap);
      DeviceMatrix device_weight(weight);
      DeviceMatrix out(dtype, size.rows, size.columns, size.gap);
      const auto* device_weights = static_cast<const float*>(device_weight.matrix().data);
      REQUIRE(cuda::launch_rms_norm(device_x.matrix(), device_weights, 1e-5F, out.matrix(), {}) == 0);
      CHECK(largest_difference(out.tensor(), expected) < tolerance(dtype));
      DeviceMatrix alone(dtype, 1, size.columns);
      REQUIRE(cuda::launch_rms_norm(device_x.matrix().first_rows(1), device_weights, 1e-5F, alone.matrix(), {}) == 0);
      CHECK(std::ranges::equal(alone.tensor().row_bytes(0), out.tensor().row_bytes(0)));
      CHECK(session.report().empty());
    }
  }
}

TEST_CASE("SwiGLU is the CPU's") {
  const auto cpu = make_backend(1);
  for (const Size size : kSizes) {
    for (const auto& [in, out_dtype] :
         {std::pair{ComputeType::kF32, ComputeType::kF32}, std::pair{ComputeType::kF32, ComputeType::kBF16},
          std::pair{ComputeType::kF32, ComputeType::kF16}, std::pair{ComputeType::kBF16, ComputeType::kBF16},
          std::pair{ComputeType::kF16, ComputeType::kF16}}) {
      simt::Session session({.seed = 5});
      Tensor gate_up = converted(random_tensor(ComputeType::kF32, size.rows, 2 * size.columns, 6), in);
      gate_up.set(0, 0, -120.0F);  // e^120 is infinite: the gate is then zero
      Tensor expected(judge_dtype(out_dtype), size.rows, size.columns);
      Tensor judge_in = converted(gate_up, judge_dtype(in));
      cpu->operations().swiglu(judge_in.matrix(), expected.matrix());
      DeviceMatrix device_gate_up(gate_up, size.gap);
      DeviceMatrix out(out_dtype, size.rows, size.columns, size.gap);
      REQUIRE(cuda::launch_swiglu(device_gate_up.matrix(), out.matrix(), {}) == 0);
      CHECK(largest_difference(out.tensor(), expected) < tolerance(out_dtype));
      CHECK(session.report().empty());
    }
  }
}

}  // namespace
}  // namespace coppice::kernels::test
