// Thousands of random plans, each acted out key by key.
#include <catch2/catch.hpp>
#include <random>

#include "tests/unit/kernels/plan_invariants.h"

namespace coppice::kernels {
namespace {

TreeShape random_shape(std::mt19937_64& random) {
  const auto draw = [&](int least, int most) { return std::uniform_int_distribution<int>(least, most)(random); };
  TreeShape shape;
  shape.depth = draw(0, 6);
  shape.children_most = draw(1, 6);
  shape.leaves_most = draw(1, 40);
  shape.tokens_most = draw(0, 3) == 0 ? 3000 : draw(1, 400);
  shape.chunk_most = draw(0, 2) == 0 ? draw(1, 300) : 1;
  shape.drafts_most = draw(0, 2) == 0 ? draw(1, 12) : 0;
  shape.empty_suffix = 0.3;
  shape.one_token = 0.3;
  return shape;
}

TEST_CASE("random plans cover every key once, in order", "[plan]") {
  std::mt19937_64 random(11);
  const auto draw = [&](int least, int most) { return std::uniform_int_distribution<int>(least, most)(random); };
  AttentionPlanner planner;
  int shared_plans = 0;
  int partial_plans = 0;
  for (int round = 0; round < 4000; ++round) {
    const TestStep step = random_tree(random_shape(random), 16 << draw(0, 3), random);
    PlanOptions options;
    options.page_size = step.page_size;
    options.sharing = draw(0, 4) != 0;
    options.chaining = draw(0, 3) != 0;
    options.window = draw(0, 2) == 0 ? draw(1, 2000) : 0;
    options.group_size = draw(1, 16);
    options.key_heads = draw(1, 8);
    options.workers = draw(0, 1) == 0 ? draw(1, 4) : draw(1, 64);
    const auto sequences = step.plan_sequences();
    const AttentionPlan& plan = planner.plan(sequences, options);
    const std::string fault = find_fault(step, options, plan);
    INFO("round " << round);
    REQUIRE(fault == "");
    shared_plans += plan.shared_items > 0 ? 1 : 0;
    partial_plans += plan.row_partials.empty() ? 0 : 1;
    REQUIRE((options.sharing || plan.shared_items == 0));
  }
  CHECK(shared_plans > 900);
  CHECK(partial_plans > 1000);
}

TEST_CASE("every split in common pages is read once", "[plan]") {
  std::mt19937_64 random(12);
  AttentionPlanner planner;
  for (int round = 0; round < 1000; ++round) {
    TreeShape shape = random_shape(random);
    shape.chunk_most = 1;
    shape.drafts_most = 0;
    const TestStep step = random_tree(shape, 16, random);
    PlanOptions options;
    options.key_heads = 8;
    options.workers = 2;  // heads enough: nothing is cut for balance
    const auto sequences = step.plan_sequences();
    REQUIRE(planner.plan(sequences, options).keys_read == keys_read_when_shared(step));
  }
}

TEST_CASE("a hint about shared pages gives the same plan as comparing them", "[plan]") {
  std::mt19937_64 random(13);
  AttentionPlanner planner;
  AttentionPlanner hinted;
  for (int round = 0; round < 300; ++round) {
    const TestStep step = random_tree(random_shape(random), 16, random);
    auto sequences = step.plan_sequences();
    PlanOptions options;
    const AttentionPlan& plan = planner.plan(sequences, options);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      sequences[i].shared_pages = 0;
      while (i > 0 &&
             static_cast<std::size_t>(sequences[i].shared_pages) <
                 std::min(sequences[i].pages.size(), sequences[i - 1].pages.size()) &&
             sequences[i].pages[static_cast<std::size_t>(sequences[i].shared_pages)] ==
                 sequences[i - 1].pages[static_cast<std::size_t>(sequences[i].shared_pages)]) {
        ++sequences[i].shared_pages;
      }
    }
    const AttentionPlan& same = hinted.plan(sequences, options);
    REQUIRE(same.keys_read == plan.keys_read);
    REQUIRE(same.items.size() == plan.items.size());
    REQUIRE(find_fault(step, options, same) == "");
  }
}

TEST_CASE("one long sequence is cut so that all workers have some of it", "[plan]") {
  TestStep step;
  TestSequence sequence;
  for (PageId page = 0; page < 1024; ++page) {
    sequence.pages.push_back(page);
  }
  sequence.position_begin = 16383;
  sequence.row_count = 1;
  step.sequences = {sequence};
  const auto sequences = step.plan_sequences();
  AttentionPlanner planner;
  PlanOptions options;
  options.workers = 16;
  options.key_heads = 2;
  const AttentionPlan& plan = planner.plan(sequences, options);
  CHECK(plan.items.size() >= 16);
  CHECK(find_fault(step, options, plan) == "");
  options.key_heads = 64;
  CHECK(planner.plan(sequences, options).items.size() == 1);
}

}  // namespace
}  // namespace coppice::kernels
