// The promise, on the GPU's kernel: a row's attention is the same to the bit, whatever else is in the step, however the
// plan is cut up, whichever warp computes what in which order, and whatever lies where the row may not look.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "tests/simt/attention_bench.h"

namespace coppice::kernels::cuda {
namespace {

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<float> rows_of(const std::vector<float>& out, std::int32_t begin, std::int32_t count, std::size_t width) {
  const auto first = out.begin() + static_cast<std::int64_t>(static_cast<std::size_t>(begin) * width);
  return {first, first + static_cast<std::int64_t>(static_cast<std::size_t>(count) * width)};
}

// Some with scores so far apart that references move and sums are rescaled.
std::vector<GpuAttentionBench::Config> configs() {
  return {{2, 2, 64, ComputeType::kBF16, 1},       {8, 2, 64, ComputeType::kF16, 2, 3.0},
          {8, 1, 128, ComputeType::kBF16, 3, 2.0}, {16, 1, 80, ComputeType::kBF16, 4},
          {4, 1, 256, ComputeType::kF16, 5},       {4, 2, 48, ComputeType::kF32, 6, 2.0}};
}

TreeShape mixed_shape() {
  TreeShape shape;
  shape.depth = 3;
  shape.leaves_most = 7;
  shape.tokens_most = 250;
  shape.chunk_most = 40;
  shape.drafts_most = 5;
  shape.empty_suffix = 0.3;
  return shape;
}

TEST_CASE("sharing, chaining, workers, blocks, stages and the order of threads do not change a bit",
          "[simt][identity]") {
  std::mt19937_64 random(21);
  for (const GpuAttentionBench::Config& config : configs()) {
    const std::int32_t window = random() % 2 == 0 ? 0 : 90;
    const TestStep step = random_tree(mixed_shape(), 16 << random() % 3, random);
    GpuAttentionBench bench(config, step.pages_used, step.page_size, step.row_count());
    const auto sequences = step.plan_sequences();
    std::vector<std::vector<float>> outs;
    std::uint64_t seed = 0;
    for (const bool sharing : {true, false}) {
      for (const bool chaining : {true, false}) {
        for (const std::int32_t workers : {1, 40}) {
          PlanOptions options = bench.plan_options(step);
          options.window = window;
          options.sharing = sharing;
          options.chaining = chaining;
          options.workers = workers;
          AttentionPlanner planner;
          ++seed;
          outs.push_back(bench.run(planner.plan(sequences, options), {.seed = seed,
                                                                      .blocks = 1 + static_cast<std::int32_t>(seed % 4),
                                                                      .stages = seed % 3 == 0   ? 2
                                                                                : seed % 3 == 1 ? 3
                                                                                                : 0}));
        }
      }
    }
    INFO("dim " << config.head_dim << "\n" << bench.problems());
    CHECK(bench.problems().empty());
    for (const std::vector<float>& out : outs) {
      REQUIRE(same_bits(out, outs[0]));
    }
  }
}

TEST_CASE("pages behind 2^31 elements are pages like others", "[simt][identity]") {
  std::mt19937_64 random(25);
  TreeShape shape = mixed_shape();
  shape.leaves_most = 4;
  const TestStep step = random_tree(shape, 16, random);
  TestStep far_step = step;
  constexpr PageId kFirst = 300000;  // of 8,192 elements each
  for (TestSequence& sequence : far_step.sequences) {
    for (PageId& page : sequence.pages) {
      page += kFirst;
    }
  }
  for (const ComputeType dtype : {ComputeType::kBF16, ComputeType::kF32}) {
    GpuAttentionBench::Config config{4, 2, 128, dtype, 7};
    std::vector<float> outs[2];
    for (const bool far : {false, true}) {
      config.first_page = far ? kFirst : 0;
      GpuAttentionBench bench(config, step.pages_used, step.page_size, step.row_count());
      const PlanOptions options = bench.plan_options(step);
      AttentionPlanner planner;
      const auto sequences = far ? far_step.plan_sequences() : step.plan_sequences();
      const AttentionPlan& plan = planner.plan(sequences, options);
      REQUIRE(!plan.slots.empty());
      outs[far ? 1 : 0] = bench.run(plan, {});
      CHECK(bench.problems() == "");
    }
    CHECK((same_bits(outs[0], outs[1])));
  }
}

TEST_CASE("a ring of too few stages is refused", "[simt][identity]") {
  std::mt19937_64 random(26);
  const TestStep step = random_tree(mixed_shape(), 16, random);
  const auto sequences = step.plan_sequences();
  for (const std::int32_t head_dim : {64, 256}) {
    const auto problems_of = [&](std::int32_t stages) {
      GpuAttentionBench bench({2, 1, head_dim}, step.pages_used, step.page_size, step.row_count());
      AttentionPlanner planner;
      bench.run(planner.plan(sequences, bench.plan_options(step)), {.stages = stages});
      return bench.problems();
    };
    CHECK((problems_of(1) == "") == (head_dim == 256));
    CHECK(problems_of(2) == "");
  }
}

// Splits of all three lengths, at little cost: one row a sequence, behind one prefix.
TEST_CASE("splits beyond 2,048 and 16,384 keys: shared, cut and in chunks, the same bits", "[simt][identity]") {
  constexpr std::int32_t kShared = 16640;  // half of the first split of 512
  TestStep step;
  step.page_size = 128;
  for (const std::int32_t own : {1, 260, 400}) {  // the end of the split lies 256 further on
    TestSequence sequence;
    for (PageId page = 0; page < kShared / 128; ++page) {
      sequence.pages.push_back(page);
    }
    step.pages_used = std::max(step.pages_used, kShared / 128);
    for (std::int32_t i = 0; i < own; i += 128) {
      sequence.pages.push_back(step.pages_used++);
    }
    sequence.position_begin = kShared + own - 2;
    sequence.row_count = 2;
    sequence.pages.push_back(step.pages_used++);
    step.sequences.push_back(sequence);
  }
  step.number_rows();
  const GpuAttentionBench::Config config{2, 1, 64, ComputeType::kBF16, 8, 2.0};
  const std::size_t width = 128;
  GpuAttentionBench bench(config, step.pages_used, step.page_size, step.row_count());
  const auto sequences = step.plan_sequences();
  AttentionPlanner planner;
  PlanOptions options = bench.plan_options(step);
  options.workers = 1;
  const std::vector<float> out = bench.run(planner.plan(sequences, options), {});
  CHECK(bench.error(step, 0, out) <= 5e-3);
  options.workers = 200;
  CHECK(planner.plan(sequences, options).partial_count > 100);
  CHECK((same_bits(bench.run(planner.plan(sequences, options), {.seed = 2}), out)));
  options.sharing = false;
  CHECK((same_bits(bench.run(planner.plan(sequences, options), {.seed = 3}), out)));
  for (const std::int32_t row : {1, 3, 5}) {
    const TestSequence& sequence = step.sequences[static_cast<std::size_t>(row / 2)];
    const PlanSequence alone{sequence.pages, 0, 1, sequence.position_begin + row % 2, {}, -1, 0};
    const AttentionPlan& plan = planner.plan(std::span(&alone, 1), options);
    CHECK((same_bits(bench.run(plan, {.seed = 4, .first_row = row}), rows_of(out, row, 1, width))));
  }
  CHECK(bench.problems() == "");
}

TEST_CASE("room for few partials does not change a bit", "[simt][identity]") {
  std::mt19937_64 random(24);
  const GpuAttentionBench::Config config{8, 1, 128, ComputeType::kBF16, 3, 2.0};
  const TestStep step = random_tree(mixed_shape(), 16, random);
  GpuAttentionBench bench(config, step.pages_used, step.page_size, step.row_count());
  const auto sequences = step.plan_sequences();
  PlanOptions options = bench.plan_options(step);
  options.workers = 60;
  AttentionPlanner planner;
  const AttentionPlan& plan = planner.plan(sequences, options);
  const std::int32_t wanted = plan.partial_count;
  REQUIRE(wanted > 2 * step.row_count());
  const std::vector<float> out = bench.run(plan, {});
  for (const std::int32_t most : {wanted / 2, step.row_count()}) {
    options.partials_most = most;
    const AttentionPlan& bounded = planner.plan(sequences, options);
    CHECK(bounded.partial_count <= most);
    CHECK((same_bits(bench.run(bounded, {.seed = 5}), out)));
  }
  CHECK(bench.problems() == "");
}

TEST_CASE("a sequence alone, in chunks of any size, gets the same bits", "[simt][identity]") {
  std::mt19937_64 random(22);
  for (const GpuAttentionBench::Config& config : configs()) {
    TreeShape shape = mixed_shape();
    shape.drafts_most = 0;
    shape.chunk_most = 90;
    shape.leaves_most = 4;
    const std::int32_t window = random() % 2 == 0 ? 0 : 70;
    const TestStep step = random_tree(shape, 16, random);
    GpuAttentionBench bench(config, step.pages_used, step.page_size, step.row_count());
    PlanOptions options = bench.plan_options(step);
    options.window = window;
    AttentionPlanner planner;
    const auto sequences = step.plan_sequences();
    const std::vector<float> out = bench.run(planner.plan(sequences, options), {});
    const auto width = static_cast<std::size_t>(config.query_heads * config.head_dim);
    for (const TestSequence& sequence : step.sequences) {
      for (const std::int32_t chunk : {1, 7, 512}) {
        const std::int32_t begin = chunk == 1 ? std::max(0, sequence.row_count - 3) : 0;
        for (std::int32_t row = begin; row < sequence.row_count; row += chunk) {
          const std::int32_t count = std::min(chunk, sequence.row_count - row);
          const PlanSequence alone{sequence.pages, 0, count, sequence.position_begin + row, {}, -1, 0};
          const AttentionPlan& plan = planner.plan(std::span(&alone, 1), options);
          const std::int32_t first = sequence.row_begin + row;
          REQUIRE(same_bits(bench.run(plan, {.seed = 3, .first_row = first}), rows_of(out, first, count, width)));
        }
      }
    }
    INFO(bench.problems());
    CHECK(bench.problems().empty());
  }
}

TEST_CASE("a drafted path gets the bits of the plain continuation", "[simt][identity]") {
  std::mt19937_64 random(23);
  for (const GpuAttentionBench::Config& config : configs()) {
    const std::int32_t window = random() % 2 == 0 ? 0 : 50;
    TreeShape shape = mixed_shape();
    shape.chunk_most = 1;
    shape.leaves_most = 3;
    shape.drafts_most = 9;
    const TestStep step = random_tree(shape, 16, random);
    constexpr std::int32_t kRoom = 4;  // pages behind the step's, for one copy of a path
    GpuAttentionBench bench(config, step.pages_used + kRoom, step.page_size, step.row_count());
    PlanOptions options = bench.plan_options(step);
    options.window = window;
    AttentionPlanner planner;
    const auto sequences = step.plan_sequences();
    const std::vector<float> out = bench.run(planner.plan(sequences, options), {});
    const auto width = static_cast<std::size_t>(config.query_heads * config.head_dim);
    for (std::size_t i = 0; i < step.sequences.size(); ++i) {
      const TestSequence& sequence = step.sequences[i];
      for (std::int32_t row = 1; row < sequence.row_count; ++row) {
        const std::vector<KvSlot> slots = step.row_slots(i, row);
        const auto length = static_cast<std::int32_t>(slots.size());
        const std::int32_t kept = sequence.position_begin / step.page_size;
        std::vector<PageId> pages(sequence.pages.begin(), sequence.pages.begin() + kept);
        for (PageId page = step.pages_used; static_cast<std::int32_t>(pages.size()) * step.page_size < length; ++page) {
          pages.push_back(page);
        }
        REQUIRE(pages.size() <= static_cast<std::size_t>(kept + kRoom));
        for (std::int32_t position = kept * step.page_size; position < length; ++position) {
          bench.copy_slot(
              slots[static_cast<std::size_t>(position)],
              pages[static_cast<std::size_t>(position / step.page_size)] * step.page_size + position % step.page_size);
        }
        const PlanSequence linear{pages, 0, 1, length - 1, {}, -1, 0};
        const std::int32_t first = sequence.row_begin + row;
        const AttentionPlan& plan = planner.plan(std::span(&linear, 1), options);
        REQUIRE(same_bits(bench.run(plan, {.seed = 4, .first_row = first}), rows_of(out, first, 1, width)));
      }
    }
    INFO(bench.problems());
    CHECK(bench.problems().empty());
  }
}

// Keys that a row may not see can be anything; values are stored finite (rope_and_store), so they may be large.
TEST_CASE("what lies beyond a row's limits does not touch it", "[simt][identity]") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const GpuAttentionBench::Config& config : configs()) {
    TestSequence sequence;
    for (PageId page = 0; page < 20; ++page) {
      sequence.pages.push_back(page);
    }
    sequence.position_begin = 230;
    sequence.row_count = 40;
    TestStep step;
    step.sequences = {sequence};
    const auto sequences = step.plan_sequences();
    for (const std::int32_t window : {0, 60}) {
      GpuAttentionBench bench(config, 20, 16, 40);
      PlanOptions options = bench.plan_options(step);
      options.window = window;
      AttentionPlanner planner;
      const AttentionPlan& plan = planner.plan(sequences, options);
      const std::vector<float> before = bench.run(plan, {});
      const std::int32_t row = 17;
      for (KvSlot slot = 0; slot < 320; ++slot) {
        const bool hidden =
            slot > sequence.position_begin + row || (window > 0 && slot < sequence.position_begin - window + 1);
        if (hidden) {
          const float key = slot % 3 == 0 ? nan : slot % 3 == 1 ? infinity : -infinity;
          bench.overwrite(slot, key, slot % 2 == 0 ? 60000.0F : -60000.0F);
        }
      }
      const std::vector<float> after = bench.run(plan, {.seed = 2});
      const auto width = static_cast<std::size_t>(config.query_heads * config.head_dim);
      CHECK(same_bits(rows_of(after, 0, row + 1, width), rows_of(before, 0, row + 1, width)));
      // A row that does see them is seen to be broken.
      CHECK(!same_bits(rows_of(after, row + 1, 1, width), rows_of(before, row + 1, 1, width)));
      CHECK(bench.problems().empty());
    }
  }
}

TEST_CASE("half output is the rounded float output", "[simt][identity]") {
  std::mt19937_64 random(9);
  const TestStep step = random_tree(mixed_shape(), 16, random);
  for (const GpuAttentionBench::Config& config : configs()) {
    GpuAttentionBench bench(config, step.pages_used, step.page_size, step.row_count());
    AttentionPlanner planner;
    const auto sequences = step.plan_sequences();
    PlanOptions options = bench.plan_options(step);
    options.workers = 20;
    const AttentionPlan& plan = planner.plan(sequences, options);
    const std::vector<float> wide = bench.run(plan, {});
    const std::vector<float> narrow = bench.run(plan, {.f32_out = false});
    const float unit = config.dtype == ComputeType::kBF16 ? 0x1.0p-8F : 0x1.0p-11F;
    for (std::size_t i = 0; i < wide.size(); ++i) {
      REQUIRE(std::abs(wide[i] - narrow[i]) <= std::abs(wide[i]) * unit + 0x1.0p-24F);
    }
    CHECK(bench.problems().empty());
  }
}

}  // namespace
}  // namespace coppice::kernels::cuda
