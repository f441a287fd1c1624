// Matrix products of the GPU on the emulator: against float64, the same bits for every number of rows and every tile,
// shapes that fill no tile, inputs that are not aligned, adding to what is there, biases.
#include <algorithm>
#include <catch2/catch.hpp>
#include <span>

#include "tests/simt/linear_product.h"

namespace coppice::kernels::test {
namespace {

constexpr LinearTile kTiles[] = {LinearTile::k16x64Split, LinearTile::k64x64Split, LinearTile::k128x128Whole};

// Products of this type by every tile and several numbers of rows.
void check_tensor_products(ComputeType dtype, const Shape& shape) {
  simt::Session session({.seed = 7});
  Product product(shape, dtype, /*has_bias=*/true);
  const Tensor in = random_tensor(dtype, 70, shape.in_features, 13);
  const Tensor whole = product.run(in, LinearTile::k64x64Split, ComputeType::kF32);
  product.check(in, whole, nullptr);
  for (const LinearTile tile : kTiles) {
    for (const std::int64_t rows : {1, 7, 16, 17, 70}) {
      INFO(format_name(dtype) << " " << shape.out_features << " x " << shape.in_features << ", tile "
                              << static_cast<int>(tile) << ", " << rows);
      const Tensor out = product.run(first_rows(in, rows), tile, ComputeType::kF32);
      CHECK(out.bytes == first_rows(whole, rows).bytes);
    }
  }
  CHECK(session.report() == "");
  CHECK(std::ranges::count(std::span(product.counters.data(), product.counters.size()), 0U) == 256);
}

TEST_CASE("products on tensor cores: float64's numbers, the same bits for every tile and number of rows") {
  // One slice; a K that no load of 16 bytes ends on; several slices; a K that fills no block.
  for (const Shape shape : {Shape{64, 64}, Shape{70, 100}, Shape{96, 1024}, Shape{130, 328}}) {
    check_tensor_products(ComputeType::kBF16, shape);
  }
  for (const Shape shape : {Shape{70, 100}, Shape{96, 520}}) {
    check_tensor_products(ComputeType::kF16, shape);
  }
}

TEST_CASE("products: every number of rows from 1 to 70 gives the rows of the largest") {
  simt::Session session({.seed = 8});
  Product product({64, 512}, ComputeType::kBF16, /*has_bias=*/false);
  REQUIRE(product.slices == 2);
  const Tensor in = random_tensor(ComputeType::kBF16, 70, 512, 14);
  const Tensor whole = product.run(in, LinearTile::k128x128Whole, ComputeType::kF32);
  for (std::int64_t rows = 1; rows <= 70; rows += rows < 20 ? 1 : 7) {
    const LinearTile tile = cuda::choose_linear_tile(rows, 64, product.slices);
    CHECK(product.run(first_rows(in, rows), tile, ComputeType::kF32).bytes == first_rows(whole, rows).bytes);
  }
  CHECK(session.report() == "");
}

TEST_CASE("products: rows that begin behind 2^31 elements are rows like others") {
  for (const ComputeType dtype : {ComputeType::kBF16, ComputeType::kF32}) {
    simt::Session session({.seed = 10});
    Product product({70, 100}, dtype, /*has_bias=*/true);
    const Tensor in = random_tensor(dtype, 18, 100, 17);
    const Tensor near = product.run(in, LinearTile::k64x64Split, ComputeType::kF32);
    product.in_gap = product.out_gap = std::int64_t{1} << 27;  // 17 of them are more than 2^31
    for (const LinearTile tile : kTiles) {
      CHECK(product.run(in, tile, ComputeType::kF32).bytes == near.bytes);
    }
    CHECK(session.report() == "");
  }
}

TEST_CASE("products add to the residual stream, or round to the type of their factors") {
  for (const auto& [dtype, shape] :
       {std::pair{ComputeType::kBF16, Shape{66, 72}}, std::pair{ComputeType::kBF16, Shape{96, 768}},
        std::pair{ComputeType::kF16, Shape{66, 520}}}) {
    simt::Session session({.seed = 9});
    Product product(shape, dtype, /*has_bias=*/false);
    const Tensor in = random_tensor(dtype, 18, shape.in_features, 15);
    const Tensor addend = random_tensor(ComputeType::kF32, 18, shape.out_features, 16);
    for (const LinearTile tile : kTiles) {
      product.check(in, product.run(in, tile, ComputeType::kF32, &addend), &addend);
      product.check(in, product.run(in, tile, dtype), nullptr);
    }
    CHECK(session.report() == "");
  }
}

TEST_CASE("what is too large for f16 becomes infinite, and nothing beside it changes") {
  simt::Session session({.seed = 11});
  Product product({64, 64}, ComputeType::kF16, /*has_bias=*/false);
  Tensor in(ComputeType::kF16, 2, 64);
  const Tensor ordinary = random_tensor(ComputeType::kF16, 1, 64, 18);
  for (std::int64_t k = 0; k < 64; ++k) {
    in.set(0, k, std::copysign(60000.0F, product.weight.at(5, k)));
    in.set(1, k, ordinary.at(0, k));
  }
  const Tensor wide = product.run(in, LinearTile::k16x64Split, ComputeType::kF32);
  const Tensor out = product.run(in, LinearTile::k16x64Split, ComputeType::kF16);
  CHECK(out.at(0, 5) == INFINITY);
  for (std::int64_t column = 0; column < 64; ++column) {
    CHECK(out.at(0, column) == from_f16(to_f16(wide.at(0, column))));
    CHECK(out.at(1, column) == from_f16(to_f16(wide.at(1, column))));
  }
  CHECK(session.report() == "");
}

TEST_CASE("products in float32: float64's numbers, the same bits for every number of rows") {
  for (const Shape shape : {Shape{64, 64}, Shape{70, 100}, Shape{130, 330}}) {
    simt::Session session({.seed = 10});
    Product product(shape, ComputeType::kF32, /*has_bias=*/true);
    const Tensor in = random_tensor(ComputeType::kF32, 70, shape.in_features, 17);
    const Tensor whole = product.run(in, LinearTile::k64x64Split, ComputeType::kF32);
    product.check(in, whole, nullptr);
    for (const std::int64_t rows : {1, 5, 64, 65}) {
      CHECK(product.run(first_rows(in, rows), LinearTile::k64x64Split, ComputeType::kF32).bytes ==
            first_rows(whole, rows).bytes);
    }
    CHECK(session.report() == "");
  }
}

TEST_CASE("the cut of K and the choice of a kernel") {
  CHECK(cuda::linear_slices(4096, 4096) == 4);
  CHECK(cuda::linear_slices(28672, 4096) == 1);
  CHECK(cuda::linear_slices(4096, 14336) == 4);
  CHECK(cuda::linear_slices(128, 128) == 1);  // too short to cut
  CHECK(cuda::linear_slices(64, 1 << 20) == 16);
  CHECK(cuda::choose_linear_tile(1, 4096, 4) == LinearTile::k16x64Split);
  CHECK(cuda::choose_linear_tile(16, 4096, 4) == LinearTile::k16x64Split);
  CHECK(cuda::choose_linear_tile(17, 4096, 4) == LinearTile::k64x64Split);
  CHECK(cuda::choose_linear_tile(4096, 4096, 4) == LinearTile::k128x128Whole);
  // Up to 64 rows, no tile of 128 rows however wide the weight: at least half of it would be padding.
  CHECK(cuda::choose_linear_tile(17, 28672, 1) == LinearTile::k64x64Split);
  CHECK(cuda::choose_linear_tile(64, 28672, 1, /*hopper=*/true) == LinearTile::k64x64Split);
  CHECK(cuda::choose_linear_tile(64, 128256, 1) == LinearTile::k64x64Split);
  CHECK(cuda::choose_linear_tile(65, 28672, 1) == LinearTile::k128x128Whole);
  // No split product outgrows the workspace or the counters.
  for (std::int64_t rows = 1; rows <= 65536; rows = rows * 3 / 2 + 1) {
    for (const Shape shape : {Shape{128, 8192}, Shape{1024, 4096}, Shape{4096, 14336}, Shape{128256, 4096}}) {
      const int slices = cuda::linear_slices(shape.out_features, shape.in_features);
      const LinearTile tile = cuda::choose_linear_tile(rows, shape.out_features, slices);
      if (tile != LinearTile::k128x128Whole && slices > 1) {
        const std::int64_t padded = round_up(rows, cuda::linear_tile_rows(tile)) * round_up(shape.out_features, 64);
        CHECK(padded * slices * 4 <= cuda::kLinearWorkspaceBytes);
        CHECK(padded / (cuda::linear_tile_rows(tile) * 64) <= cuda::kLinearTilesMax);
      }
    }
  }
}

}  // namespace
}  // namespace coppice::kernels::test
