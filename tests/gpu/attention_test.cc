// Attention of the CUDA backend: random prefix trees, prompt chunks, drafted paths and windows against float64, and the
// same bits with sharing on and off.
#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#include "tests/gpu/device.h"
#include "tests/unit/kernels/attention_support.h"

namespace coppice::kernels {
namespace {

struct Heads {
  std::int32_t query_heads;
  std::int32_t key_heads;
  std::int32_t head_dim;
};

TEST_CASE("attention over random trees is float64's, the same bits shared or not") {
  std::mt19937_64 random(17);
  const bool small = tests::device_is_emulated();
  std::vector<Heads> shapes = {{4, 2, 64}, {8, 1, 128}, {5, 5, 80}};
  if (!small) {
    shapes.insert(shapes.end(), {{32, 8, 128}, {16, 2, 128}, {6, 2, 96}, {4, 1, 256}, {2, 1, 8}, {16, 1, 64}});
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
      options.seed = static_cast<std::uint64_t>(turn) + 1;
      options.open_backend = tests::open_device;
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
      INFO(heads.query_heads << "/" << heads.key_heads << " heads of " << heads.head_dim << ", window " << window
                             << ", " << step.row_count() << " rows");
      CHECK(bench.error(step, window, outs[1]) <= 5e-3);
      CHECK(std::memcmp(outs[0].data(), outs[1].data(), outs[0].size() * sizeof(float)) == 0);
      CHECK(tests::device_report() == "");
    }
  }
}

}  // namespace
}  // namespace coppice::kernels
