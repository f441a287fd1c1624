// The large product on Hopper, on the emulator: float64's numbers, and bit for bit the numbers of the other kernels,
// over shapes that fill no tile, with slices, biases, addends and both kinds of output; more tiles than blocks.
#include "tests/simt/linear_product.h"

namespace coppice::kernels::test {
namespace {

struct Case {
  Shape shape;
  std::int64_t rows;
  ComputeType dtype = ComputeType::kBF16;
  ComputeType out = ComputeType::kF32;
  bool has_bias = false;
  bool adds = false;
};

void check_tile(const Case& product_case, LinearTile tile) {
  const auto& [shape, rows, dtype, out_dtype, has_bias, adds] = product_case;
  INFO(shape.out_features << " x " << shape.in_features << ", " << rows << " rows, tile " << static_cast<int>(tile));
  simt::Session session({.seed = static_cast<std::uint64_t>(rows)});
  Product product(shape, dtype, has_bias);
  const Tensor in = random_tensor(dtype, rows, shape.in_features, 21);
  const Tensor addend = random_tensor(ComputeType::kF32, rows, shape.out_features, 22);
  const Tensor* added = adds ? &addend : nullptr;
  const Tensor expected = product.run(in, LinearTile::k128x128Whole, out_dtype, added);
  const Tensor out = product.run(in, tile, out_dtype, added);
  product.check(in, out, added);
  CHECK(out.bytes == expected.bytes);
  CHECK(session.report() == "");
}

TEST_CASE("Hopper's products are those of the other kernels, bit for bit") {
  // Fewer blocks of K than stages; several slices; more rows than a tile; more tiles than blocks.
  check_tile({.shape = {64, 64}, .rows = 17}, LinearTile::k128x128Hopper);
  check_tile({.shape = {70, 136}, .rows = 33, .has_bias = true}, LinearTile::k128x128Hopper);
  check_tile({.shape = {130, 1048}, .rows = 65, .has_bias = true}, LinearTile::k128x128Hopper);
  check_tile({.shape = {129, 520}, .rows = 129, .adds = true}, LinearTile::k128x128Hopper);
  check_tile({.shape = {258, 72}, .rows = 300, .dtype = ComputeType::kF16, .out = ComputeType::kF16},
             LinearTile::k128x128Hopper);
  check_tile({.shape = {96, 768}, .rows = 40, .out = ComputeType::kBF16}, LinearTile::k128x128Hopper);
}

TEST_CASE("Hopper's wide products are those of the other kernels, bit for bit") {
  check_tile({.shape = {200, 64}, .rows = 20, .has_bias = true}, LinearTile::k128x256Hopper);
  check_tile({.shape = {300, 392}, .rows = 130, .has_bias = true}, LinearTile::k128x256Hopper);
  check_tile({.shape = {520, 72}, .rows = 257, .adds = true}, LinearTile::k128x256Hopper);
  check_tile({.shape = {257, 136}, .rows = 18, .dtype = ComputeType::kF16}, LinearTile::k128x256Hopper);
}

TEST_CASE("the rows of a Hopper product do not depend on the rows beside them") {
  simt::Session session({.seed = 5});
  Product product({96, 512}, ComputeType::kBF16, /*has_bias=*/true);
  REQUIRE(product.slices == 2);
  const Tensor in = random_tensor(ComputeType::kBF16, 150, 512, 23);
  const Tensor whole = product.run(in, LinearTile::k128x128Hopper, ComputeType::kF32);
  CHECK(product.run(first_rows(in, 16), LinearTile::k16x64Split, ComputeType::kF32).bytes ==
        first_rows(whole, 16).bytes);
  CHECK(product.run(first_rows(in, 60), LinearTile::k64x64Split, ComputeType::kF32).bytes ==
        first_rows(whole, 60).bytes);
  CHECK(product.run(first_rows(in, 131), LinearTile::k128x128Hopper, ComputeType::kF32).bytes ==
        first_rows(whole, 131).bytes);
  CHECK(session.report() == "");
}

TEST_CASE("when Hopper's kernels are chosen") {
  CHECK(cuda::choose_linear_tile(4096, 4096, 4, true) == LinearTile::k128x128Hopper);
  CHECK(cuda::choose_linear_tile(4096, 28672, 1, true) == LinearTile::k128x256Hopper);
  CHECK(cuda::choose_linear_tile(128, 28672, 1, true) == LinearTile::k128x128Hopper);
  CHECK(cuda::choose_linear_tile(4096, 28672, 1, false) == LinearTile::k128x128Whole);
  CHECK(cuda::choose_linear_tile(16, 1 << 20, 1, true) == LinearTile::k16x64Split);
  CHECK(cuda::choose_linear_tile(64, 4096, 4, true) == LinearTile::k64x64Split);
  CHECK(cuda::linear_hopper_takes({.in_features = 4096, .is_aligned = true}));
  CHECK_FALSE(cuda::linear_hopper_takes({.in_features = 4096, .is_aligned = false}));
  CHECK_FALSE(cuda::linear_hopper_takes({.in_features = 4100, .is_aligned = true}));
}

}  // namespace
}  // namespace coppice::kernels::test
