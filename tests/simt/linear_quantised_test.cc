// Products with weights in few bits on the emulator, by every kernel: against float64, and the same bits. All formats
// and stacked weights: tests/gpu/quantised_test.cc.
#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "tests/simt/linear_product.h"
#include "tests/unit/kernels/quantised_support.h"

namespace coppice::kernels::test {
namespace {

// The numbers of a weight in float32, which holds them exactly.
Tensor numbers_of(const Quantised& few) {
  Tensor out(ComputeType::kF32, few.rows, few.columns);
  const std::vector<float> numbers = few.numbers();
  std::memcpy(out.bytes.data(), numbers.data(), out.bytes.size());
  return out;
}

// Tiles of 128 weight rows take two of few bits: the second of the first and both of the last are reached.
TEST_CASE("every kernel multiplies few bits alike") {
  for (const WeightFormat format :
       {WeightFormat{WeightKind::kQ4_0}, WeightFormat{WeightKind::kQ4_1}, WeightFormat{WeightKind::kQ5_0},
        WeightFormat{WeightKind::kQ4_K}, WeightFormat{WeightKind::kQ5_K}, WeightFormat{WeightKind::kQ6_K},
        WeightFormat{WeightKind::kInt4, 128}, WeightFormat{WeightKind::kInt8}, WeightFormat{WeightKind::kFp8, 128}}) {
    for (const ComputeType type : {ComputeType::kBF16, ComputeType::kF16}) {
      simt::Session session({.seed = 31});
      const Quantised few = random_quantised(format, 200, 512, 32);
      Product product(Tensor(type, few.rows, few.columns), /*has_bias=*/true);
      REQUIRE(product.slices == 2);
      product.store_few_bits(few.host());
      const Tensor in = random_tensor(type, 130, 512, 33);
      const Tensor whole = product.run(in, LinearTile::k128x128Whole, ComputeType::kF32);
      product.weight = numbers_of(few);
      product.check(in, whole, nullptr);
      for (const LinearTile tile : {LinearTile::k16x64Split, LinearTile::k64x64Split}) {
        INFO(format_name(format) << " in " << format_name(type) << ", tile " << static_cast<int>(tile));
        CHECK((product.run(in, tile, ComputeType::kF32).bytes == whole.bytes));
      }
      CHECK(session.report() == "");
    }
  }
}

}  // namespace
}  // namespace coppice::kernels::test
