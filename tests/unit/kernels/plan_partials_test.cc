// Plans with a bound on their partial slots (PlanOptions::partials_most): they take no more, whatever the step, and are
// otherwise what they would be.
#include <catch2/catch.hpp>
#include <random>

#include "tests/unit/kernels/plan_invariants.h"

namespace coppice::kernels {
namespace {

// Sequences of one row that share `shared` tokens and have a few of their own.
TestStep wide_prefix(std::int32_t count, std::int32_t shared) {
  TestStep step;
  std::vector<PageId> prefix;
  for (; step.pages_used * step.page_size < shared; ++step.pages_used) {
    prefix.push_back(step.pages_used);
  }
  for (std::int32_t i = 0; i < count; ++i) {
    TestSequence sequence;
    sequence.pages = prefix;
    sequence.pages.push_back(step.pages_used++);
    sequence.position_begin = shared + i % step.page_size;
    sequence.row_count = 1;
    step.sequences.push_back(std::move(sequence));
  }
  step.number_rows();
  return step;
}

// A model of 32 query heads and 8 key heads on a GPU of 132 multiprocessors.
PlanOptions large_gpu() {
  PlanOptions options;
  options.group_size = 4;
  options.key_heads = 8;
  options.workers = 264;
  options.costs = kGpuPlanCosts;
  return options;
}

TEST_CASE("many sequences over a long prefix take no more partials than there is room for", "[plan]") {
  for (const std::int32_t count : {256, 1024}) {
    const TestStep step = wide_prefix(count, 16384);
    const auto sequences = step.plan_sequences();
    AttentionPlanner planner;
    PlanOptions options = large_gpu();
    options.costs = PlanCosts{};  // of a device that cuts more
    const std::int32_t wanted = planner.plan(sequences, options).partial_count;
    // 256 MB of partials of 32 heads of 128 dimensions in float32.
    options.partials_most = (std::int32_t{256} << 20) / (32 * 130 * 4);
    CHECK(wanted > options.partials_most);
    const AttentionPlan& plan = planner.plan(sequences, options);
    CHECK(plan.partial_count <= options.partials_most);
    CHECK(plan.keys_attended ==
          std::int64_t{count} * 16384 + std::int64_t{count} / 16 * 136);  // 1 + ... + 16 of its own
    options.costs = kGpuPlanCosts;
    CHECK(planner.plan(sequences, options).partial_count <= options.partials_most);
  }
}

TEST_CASE("a bound on partials is kept exactly, and a plan within it is not changed", "[plan]") {
  std::mt19937_64 random(41);
  const auto draw = [&](int least, int most) { return std::uniform_int_distribution<int>(least, most)(random); };
  AttentionPlanner planner;
  int bounded_plans = 0;
  for (int round = 0; round < 600; ++round) {
    TreeShape shape;
    shape.depth = draw(0, 5);
    shape.leaves_most = draw(1, 20);
    shape.tokens_most = draw(0, 2) == 0 ? 3000 : 400;
    shape.chunk_most = draw(0, 2) == 0 ? draw(1, 200) : 1;
    shape.drafts_most = draw(0, 2) == 0 ? draw(1, 9) : 0;
    const TestStep step = random_tree(shape, 16 << draw(0, 3), random);
    PlanOptions options;
    options.page_size = step.page_size;
    options.window = draw(0, 2) == 0 ? draw(1, 2000) : 0;
    options.group_size = draw(1, 16);
    options.key_heads = draw(1, 4);
    options.workers = draw(8, 200);
    const auto sequences = step.plan_sequences();
    const std::int32_t wanted = planner.plan(sequences, options).partial_count;
    const std::size_t items = planner.plan(sequences, options).items.size();
    INFO("round " << round << ", " << wanted << " partials for " << step.row_count() << " rows");
    options.partials_most = std::max(wanted, step.row_count());
    REQUIRE(planner.plan(sequences, options).partial_count == wanted);
    REQUIRE(planner.plan(sequences, options).items.size() == items);
    if (wanted > step.row_count()) {
      for (const std::int32_t most : {wanted - 1, draw(step.row_count(), wanted), step.row_count()}) {
        options.partials_most = most;
        const AttentionPlan& plan = planner.plan(sequences, options);
        REQUIRE(plan.partial_count <= most);
        REQUIRE(find_fault(step, options, plan) == "");
      }
      ++bounded_plans;
    }
  }
  CHECK(bounded_plans > 150);
}

}  // namespace
}  // namespace coppice::kernels
