// Attention of kernels/cuda, run on the emulator, against float64: random trees, all head shapes and plan shapes.
#include <catch2/catch.hpp>
#include <random>
#include <vector>

#include "tests/simt/attention_bench.h"

namespace coppice::kernels::cuda {
namespace {

// Relative error of a row in the 2-norm: weights are rounded to the cache's type. In f32 it is the scores' rounding
// that shows, in their exponentials.
double tolerance(ComputeType dtype) {
  return dtype == ComputeType::kBF16 ? 5e-3 : dtype == ComputeType::kF16 ? 1e-3 : 3e-6;
}

struct Case {
  std::int32_t query_heads;
  std::int32_t key_heads;
  std::int32_t head_dim;
  ComputeType dtype;
  std::int32_t depth;
  std::int32_t chunk;
  std::int32_t drafts;
  std::int32_t window;
  std::int32_t page_size;
};

void check_case(const Case& given, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  TreeShape shape;
  shape.depth = given.depth;
  shape.leaves_most = 6;
  shape.children_most = 3;
  shape.tokens_most = 180;
  shape.chunk_most = given.chunk;
  shape.drafts_most = given.drafts;
  const TestStep step = random_tree(shape, given.page_size, random);
  GpuAttentionBench bench({given.query_heads, given.key_heads, given.head_dim, given.dtype, seed}, step.pages_used,
                          step.page_size, step.row_count());
  PlanOptions options = bench.plan_options(step);
  options.window = given.window;
  AttentionPlanner planner;
  const auto sequences = step.plan_sequences();
  const std::vector<float> out = bench.run(planner.plan(sequences, options), {.seed = seed});
  const double error = bench.error(step, given.window, out);
  INFO("heads " << given.query_heads << "/" << given.key_heads << " dim " << given.head_dim << " "
                << format_name(given.dtype) << " rows " << step.row_count() << " window " << given.window << " error "
                << error);
  CHECK(error <= tolerance(given.dtype));
  INFO(bench.problems());
  CHECK(bench.problems().empty());
  CHECK(bench.counters().matrix_load_conflicts == 0);
  CHECK((bench.counters().products == 0) == (given.dtype == ComputeType::kF32));
}

TEST_CASE("every head shape and plan shape agrees with float64", "[simt][attention]") {
  constexpr ComputeType kBF16 = ComputeType::kBF16;
  constexpr ComputeType kF16 = ComputeType::kF16;
  constexpr ComputeType kF32 = ComputeType::kF32;
  std::uint64_t seed = 0;
  for (const Case& given : std::vector<Case>{
           {1, 1, 64, kBF16, 1, 1, 0, 0, 16},  {4, 2, 64, kF16, 3, 1, 0, 0, 16},    {8, 1, 128, kBF16, 4, 1, 0, 0, 32},
           {8, 2, 128, kF16, 2, 1, 7, 0, 16},  {16, 1, 64, kBF16, 2, 30, 0, 0, 64}, {6, 2, 80, kBF16, 2, 20, 5, 0, 16},
           {5, 1, 96, kF16, 3, 1, 4, 70, 128}, {4, 1, 256, kBF16, 2, 20, 3, 0, 16}, {2, 2, 256, kF16, 2, 1, 0, 90, 16},
           {8, 2, 8, kBF16, 2, 5, 3, 0, 16},   {4, 4, 24, kF16, 2, 40, 0, 40, 32},  {2, 1, 72, kBF16, 3, 1, 6, 0, 16},
           {2, 1, 120, kBF16, 2, 1, 0, 0, 16}, {4, 1, 160, kBF16, 2, 10, 0, 0, 16}, {1, 1, 64, kF32, 1, 1, 0, 0, 16},
           {8, 2, 128, kF32, 3, 1, 7, 0, 32},  {6, 2, 80, kF32, 2, 20, 5, 0, 16},   {5, 1, 96, kF32, 3, 1, 4, 70, 128},
           {4, 1, 256, kF32, 2, 8, 3, 90, 16}, {2, 2, 8, kF32, 2, 30, 0, 40, 64},   {2, 1, 160, kF32, 3, 1, 6, 0, 16},
       }) {
    check_case(given, ++seed);
  }
}

TEST_CASE("random trees, chunks, drafts and windows agree with float64", "[simt][attention]") {
  std::mt19937_64 random(99);
  const auto draw = [&](std::int32_t most) {
    return static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(most));
  };
  for (std::uint64_t seed = 100; seed < 140; ++seed) {
    const std::int32_t key_heads = 1 + draw(2);
    const std::int32_t dims[] = {16, 64, 80, 96, 128};
    Case given = {};
    given.key_heads = key_heads;
    given.query_heads = key_heads << draw(4);
    given.head_dim = dims[draw(5)];
    given.dtype = seed % 5 == 0 ? ComputeType::kF32 : draw(2) == 0 ? ComputeType::kBF16 : ComputeType::kF16;
    given.depth = 1 + draw(4);
    given.chunk = draw(3) == 0 ? 1 + draw(60) : 1;
    given.drafts = draw(3) == 0 ? draw(8) : 0;
    given.window = draw(3) == 0 ? 1 + draw(300) : 0;
    given.page_size = 16 << draw(4);
    check_case(given, seed);
  }
}

// Many rows over one prefix: blocks of rows, pieces by keys, partials; and few rows, cut for many workers.
TEST_CASE("wide nodes and cut ranges agree with float64", "[simt][attention]") {
  std::mt19937_64 random(5);
  for (const std::int32_t sequences : {1, 3, 40}) {
    TestStep step;
    for (std::int32_t i = 0; i < sequences; ++i) {
      TestSequence sequence;
      for (PageId page = 0; page < 34; ++page) {
        sequence.pages.push_back(page);
      }
      step.pages_used = i == 0 ? 34 : step.pages_used;
      for (std::int32_t page = 0; page < 3; ++page) {
        sequence.pages.push_back(step.pages_used++);
      }
      sequence.position_begin = 34 * 16 + static_cast<std::int32_t>(random() % 48);
      sequence.row_count = 1;
      step.sequences.push_back(sequence);
    }
    step.number_rows();
    for (const std::int32_t workers : {1, 4, 60}) {
      for (const bool sharing : {true, false}) {
        GpuAttentionBench bench({8, 2, 64, ComputeType::kBF16, 3}, step.pages_used, 16, step.row_count());
        PlanOptions options = bench.plan_options(step);
        options.workers = workers;
        options.sharing = sharing;
        options.chaining = workers != 4;
        AttentionPlanner planner;
        const auto list = step.plan_sequences();
        const std::vector<float> out = bench.run(planner.plan(list, options), {.seed = 7, .blocks = 5});
        INFO(sequences << " sequences, " << workers << " workers\n" << bench.problems());
        CHECK(bench.error(step, 0, out) <= tolerance(ComputeType::kBF16));
        CHECK(bench.problems().empty());
      }
    }
  }
}

TEST_CASE("long contexts cross all split sizes", "[simt][attention]") {
  TestStep step;
  for (const std::int32_t length : {1, 127, 128, 129, 2047, 2049, 4500, 16500}) {
    TestSequence sequence;
    for (std::int32_t page = 0; page * 128 < length; ++page) {
      sequence.pages.push_back(step.pages_used++);
    }
    sequence.position_begin = length - 1;
    sequence.row_count = 1;
    step.sequences.push_back(sequence);
  }
  step.page_size = 128;
  step.number_rows();
  for (const std::int32_t window : {0, 1, 3000}) {
    GpuAttentionBench bench({2, 1, 64, ComputeType::kBF16, 4}, step.pages_used, 128, step.row_count());
    PlanOptions options = bench.plan_options(step);
    options.window = window;
    AttentionPlanner planner;
    const auto list = step.plan_sequences();
    const std::vector<float> out = bench.run(planner.plan(list, options), {.seed = 2, .blocks = 4});
    INFO("window " << window << "\n" << bench.problems());
    CHECK(bench.error(step, window, out) <= tolerance(ComputeType::kBF16));
    CHECK(bench.problems().empty());
  }
}

TEST_CASE("sharp softmax and large scores stay accurate", "[simt][attention]") {
  std::mt19937_64 random(8);
  const TestStep step = random_tree({}, 16, random);
  for (const ComputeType dtype : {ComputeType::kBF16, ComputeType::kF16}) {
    for (const double spread : {0.01, 2.0, 4.0}) {
      GpuAttentionBench bench({4, 2, 64, dtype, 6, spread}, step.pages_used, 16, step.row_count());
      AttentionPlanner planner;
      const auto list = step.plan_sequences();
      const std::vector<float> out = bench.run(planner.plan(list, bench.plan_options(step)), {});
      INFO("spread " << spread << "\n" << bench.problems());
      CHECK(bench.error(step, 0, out) <= tolerance(dtype));
      CHECK(bench.problems().empty());
    }
  }
}

}  // namespace
}  // namespace coppice::kernels::cuda
