// Products with weights in few bits on the emulator, by every kernel: the bits of the same weight widened. Formats and
// stacked weights: tests/gpu/quantised_test.cc.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/simt/linear_product.h"
#include "tests/unit/kernels/quantised_support.h"

namespace coppice::kernels::test {
namespace {

Tensor widened(const Quantised& few, ComputeType type) {
  Tensor out(type, few.rows, few.columns);
  const std::vector<float> numbers = few.numbers();
  for (std::int64_t row = 0; row < few.rows; ++row) {
    for (std::int64_t k = 0; k < few.columns; ++k) {
      out.set(row, k, numbers[static_cast<std::size_t>(row * few.columns + k)]);
    }
  }
  return out;
}

// Tiles of 128 weight rows take two of few bits: the second of the first and both of the last are reached.
TEST_CASE("every kernel multiplies few bits as it multiplies the widened weight") {
  for (const WeightFormat format :
       {WeightFormat{WeightKind::kQ4_1}, WeightFormat{WeightKind::kQ5_0}, WeightFormat{WeightKind::kQ4_K},
        WeightFormat{WeightKind::kQ6_K}, WeightFormat{WeightKind::kInt4, 128}, WeightFormat{WeightKind::kInt8},
        WeightFormat{WeightKind::kFp8, 128}}) {
    for (const ComputeType type : {ComputeType::kBF16, ComputeType::kF16}) {
      simt::Session session({.seed = 31});
      const Quantised few = random_quantised(format, 200, 256, 32);
      Product product(widened(few, type), /*has_bias=*/true);
      const Tensor in = random_tensor(type, 130, 256, 33);
      const Tensor expected = product.run(in, LinearTile::k128x128Whole, ComputeType::kF32);
      product.store_few_bits(few.host());
      for (const LinearTile tile : {LinearTile::k16x64Split, LinearTile::k64x64Split, LinearTile::k128x128Whole}) {
        INFO(format_name(format) << " in " << format_name(type) << ", tile " << static_cast<int>(tile));
        CHECK((product.run(in, tile, ComputeType::kF32).bytes == expected.bytes));
      }
      CHECK(session.report() == "");
    }
  }
}

}  // namespace
}  // namespace coppice::kernels::test
