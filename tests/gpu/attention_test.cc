// Attention of the CUDA backend: random prefix trees, prompt chunks, drafted paths and windows against float64, and the
// same bits with sharing on and off.
#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#include "kernels/bench/attention_bench.h"
#include "tests/gpu/device.h"
#include "tests/unit/kernels/attention_support.h"

namespace coppice::kernels {
namespace {

struct Heads {
  std::int32_t query_heads;
  std::int32_t key_heads;
  std::int32_t head_dim;
  ComputeType dtype;
};

// Of a row in the 2-norm; weights are rounded to the cache's type.
double tolerance(ComputeType dtype) {
  return dtype == ComputeType::kBF16 ? 5e-3 : dtype == ComputeType::kF16 ? 1e-3 : 5e-6;
}

TEST_CASE("attention over random trees is float64's, the same bits shared or not") {
  std::mt19937_64 random(17);
  const bool small = tests::device_is_emulated();
  constexpr ComputeType kBF16 = ComputeType::kBF16;
  constexpr ComputeType kF16 = ComputeType::kF16;
  constexpr ComputeType kF32 = ComputeType::kF32;
  std::vector<Heads> shapes = {{4, 2, 64, kF16}, {8, 1, 128, kBF16}, {5, 5, 80, kBF16}, {4, 2, 64, kF32}};
  if (!small) {
    shapes.insert(shapes.end(), {{32, 8, 128, kBF16},
                                 {16, 2, 128, kF16},
                                 {6, 2, 96, kBF16},
                                 {4, 1, 256, kBF16},
                                 {2, 1, 8, kF16},
                                 {16, 1, 64, kBF16},
                                 {32, 8, 128, kF32},
                                 {4, 1, 256, kF32},
                                 {5, 5, 80, kF32}});
  }
  int turn = 0;
  for (const Heads& heads : shapes) {
    for (int round = 0; round < (small ? 1 : 4); ++round, ++turn) {
      TreeShape shape;
      shape.depth = 1 + turn % 4;
      shape.leaves_most = small ? 5 : 60;
      shape.tokens_most = small ? 120 : 700;
      shape.chunk_most = turn % 2 == 0 ? 1 : 40;
      shape.drafts_most = turn % 3 == 0 ? 0 : 6;
      const TestStep step = random_tree(shape, 16 << turn % 4, random);
      const std::int32_t window = turn % 3 == 1 ? 100 : 0;
      AttentionBench::Options options;
      options.query_heads = heads.query_heads;
      options.key_heads = heads.key_heads;
      options.head_dim = heads.head_dim;
      options.dtype = heads.dtype;
      options.seed = static_cast<std::uint64_t>(turn) + 1;
      options.open_backend = [] { return tests::open_device(); };
      AttentionBench bench(options, step.pages_used, step.page_size, step.row_count());
      const auto sequences = step.plan_sequences();
      std::vector<float> outs[2];
      for (const bool sharing : {false, true}) {
        PlanOptions plan_options = bench.plan_options(step);
        plan_options.window = window;
        plan_options.sharing = sharing;
        AttentionPlanner planner;
        outs[sharing ? 1 : 0] = bench.run(planner.plan(sequences, plan_options));
      }
      INFO(heads.query_heads << "/" << heads.key_heads << " heads of " << heads.head_dim << " in "
                             << format_name(heads.dtype) << ", window " << window << ", " << step.row_count()
                             << " rows");
      CHECK(bench.error(step, window, outs[1]) <= tolerance(heads.dtype));
      CHECK(std::memcmp(outs[0].data(), outs[1].data(), outs[0].size() * sizeof(float)) == 0);
      CHECK(tests::device_report() == "");
    }
  }
}

TEST_CASE("the attention benchmark measures right numbers") {
  const auto device = tests::open_device();
  AttentionBenchOptions options;
  options.tree = parse_attention_tree(tests::device_is_emulated() ? "1,3_256,20" : "1,64_512,3000").value();
  options.query_heads = 4;
  options.key_heads = 2;
  options.head_dim = 64;
  options.seconds = 0.01;
  options.cold_bytes = 1;
  for (const ComputeType dtype : {ComputeType::kBF16, ComputeType::kF16}) {
    options.type = dtype;
    const auto result = measure_attention(options, *device);
    INFO(result.status().ToString());
    REQUIRE(result.ok());
    CHECK(result->max_rel_error > 0);
    CHECK(result->max_rel_error <= 5e-3);
    CHECK(result->keys_read < result->keys_read_unshared);
    CHECK(result->workers > 0);
    CHECK(tests::device_report() == "");
  }
}

}  // namespace
}  // namespace coppice::kernels
