// A plan that was moved on is the plan made from scratch, field by field, over random histories; and planning is quick.
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <tuple>
#include <vector>

#include "tests/unit/kernels/plan_invariants.h"

namespace coppice::kernels {
namespace {

// An item with its pages spelled out, in an order that does not depend on costs.
using Spelled = std::tuple<std::int32_t, std::int32_t, std::int32_t, std::int32_t, std::int32_t, bool, bool,
                           std::tuple<std::int32_t, std::int32_t>, std::vector<PageId>>;

std::vector<Spelled> spell(const AttentionPlan& plan) {
  std::vector<Spelled> result;
  for (const AttentionItem& item : plan.items) {
    std::tuple<std::int32_t, std::int32_t> after = {-1, -1};
    if (item.after >= 0) {
      const AttentionItem& before = plan.items[static_cast<std::size_t>(item.after)];
      after = {before.row_begin, before.key_begin};
    }
    std::vector<PageId> pages;
    for (std::int32_t key = item.key_begin; key < item.key_end; key += plan.page_size) {
      pages.push_back(plan.pages[static_cast<std::size_t>(item.page_begin + (key - item.key_begin) / plan.page_size)]);
    }
    result.emplace_back(item.row_begin, item.key_begin, item.row_count, item.key_end, item.partial_begin, item.folds,
                        item.writes_output, after, std::move(pages));
  }
  std::sort(result.begin(), result.end());
  return result;
}

void require_same(const AttentionPlan& updated, const AttentionPlan& fresh) {
  REQUIRE(updated.row_count == fresh.row_count);
  REQUIRE(updated.partial_count == fresh.partial_count);
  REQUIRE(updated.row_positions == fresh.row_positions);
  REQUIRE(updated.row_partial_begin == fresh.row_partial_begin);
  REQUIRE(updated.row_partials == fresh.row_partials);
  REQUIRE(updated.keys_attended == fresh.keys_attended);
  REQUIRE(updated.keys_read == fresh.keys_read);
  REQUIRE(updated.shared_items == fresh.shared_items);
  REQUIRE(updated.depth == fresh.depth);
  REQUIRE(spell(updated) == spell(fresh));
}

// Lets every sequence grow by `tokens`, with new pages where it needs them.
void grow(TestStep& step, std::int32_t tokens) {
  for (TestSequence& sequence : step.sequences) {
    sequence.position_begin += tokens;
    while (static_cast<std::int32_t>(sequence.pages.size()) * step.page_size <= sequence.position_begin) {
      sequence.pages.push_back(step.pages_used++);
    }
  }
}

TEST_CASE("updated plans equal plans from scratch over random histories", "[plan]") {
  std::mt19937_64 random(31);
  const auto draw = [&](int least, int most) { return std::uniform_int_distribution<int>(least, most)(random); };
  std::uint64_t identity = 1;
  int steps = 0;
  int updates = 0;
  for (int history = 0; history < 150; ++history) {
    TreeShape shape;
    shape.depth = draw(0, 4);
    shape.leaves_most = draw(1, 24);
    shape.tokens_most = draw(0, 2) == 0 ? 2500 : 300;
    shape.empty_suffix = draw(0, 3) == 0 ? 0.5 : 0.0;
    TestStep step = random_tree(shape, 16 << draw(0, 3), random);
    for (TestSequence& sequence : step.sequences) {
      sequence.identity = identity++;
    }
    PlanOptions options;
    options.page_size = step.page_size;
    options.sharing = draw(0, 5) != 0;
    options.chaining = draw(0, 3) != 0;
    options.window = draw(0, 5) == 0 ? draw(1, 1000) : 0;
    options.group_size = draw(1, 8);
    options.key_heads = draw(1, 8);
    options.workers = draw(0, 1) == 0 ? 2 : draw(1, 32);
    if (options.chaining && draw(0, 1) == 0) {
      options.partials_most = step.row_count() * draw(1, 4);
    }
    AttentionPlanner planner;
    for (int i = 0; i < 120; ++i) {
      const auto sequences = step.plan_sequences();
      const AttentionPlan& plan = planner.plan(sequences, options);
      updates += planner.is_updated() ? 1 : 0;
      ++steps;
      AttentionPlanner fresh;
      INFO("history " << history << " step " << i);
      require_same(plan, fresh.plan(sequences, options));
      if (i % 16 == 0) {
        REQUIRE(find_fault(step, options, plan) == "");
      }
      const int event = draw(0, 40);
      if (event == 0 && step.sequences.size() > 1) {  // one leaves
        step.sequences.erase(step.sequences.begin() + draw(0, static_cast<int>(step.sequences.size()) - 1));
        step.number_rows();
      } else if (event == 1) {  // preempted and computed again: other pages, another identity
        TestSequence& sequence =
            step.sequences[static_cast<std::size_t>(draw(0, static_cast<int>(step.sequences.size()) - 1))];
        for (PageId& page : sequence.pages) {
          page = step.pages_used++;
        }
        sequence.identity = identity++;
      } else if (event == 2) {
        options.sharing = !options.sharing;
      }
      grow(step, draw(0, 30) == 0 ? draw(0, 200) : 1);
    }
  }
  INFO(updates << " of " << steps << " steps were updates");
  CHECK(updates > steps / 2);
}

// 1,024 sequences below a tree of three levels, 5 tokens into their own suffixes; staggered, so that pages and splits
// are crossed in many different steps.
TestStep wide_tree() {
  TestStep step;
  std::uint64_t identity = 1;
  const auto page = [&](std::vector<PageId>& pages, std::int32_t tokens) {
    for (std::int32_t i = 0; i < tokens; i += 16) {
      pages.push_back(step.pages_used++);
    }
  };
  std::vector<PageId> root;
  page(root, 1024);
  for (int middle = 0; middle < 32; ++middle) {
    std::vector<PageId> below = root;
    page(below, 512);
    for (int leaf = 0; leaf < 32; ++leaf) {
      TestSequence sequence;
      sequence.pages = below;
      const std::int32_t own = 5 + (middle * 32 + leaf) % 512;
      page(sequence.pages, own + 1);
      sequence.position_begin = 1536 + own;
      sequence.row_count = 1;
      sequence.identity = identity++;
      step.sequences.push_back(std::move(sequence));
    }
  }
  step.number_rows();
  return step;
}

TEST_CASE("planning 1,024 sequences is quick", "[plan]") {
  TestStep step = wide_tree();
  PlanOptions options;
  options.group_size = 4;
  options.key_heads = 8;
  options.workers = 2;
  using Clock = std::chrono::steady_clock;
  double scratch_us = 1e9;
  double update_us = 1e9;
  double update_worst_us = 0;
  AttentionPlanner planner;
  for (int round = 0; round < 50; ++round) {
    auto sequences = step.plan_sequences();
    for (PlanSequence& sequence : sequences) {
      sequence.identity = 0;
    }
    const auto begin = Clock::now();
    planner.plan(sequences, options);
    scratch_us = std::min(scratch_us, std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
  planner.plan(step.plan_sequences(), options);
  std::vector<double> times;
  for (int round = 0; round < 200; ++round) {
    grow(step, 1);
    const auto sequences = step.plan_sequences();
    const auto begin = Clock::now();
    planner.plan(sequences, options);
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
  std::sort(times.begin(), times.end());
  update_us = times[times.size() / 2];
  update_worst_us = times[times.size() * 95 / 100];
  CHECK(find_fault(step, options, planner.plan(step.plan_sequences(), options)) == "");
  WARN("from scratch " << scratch_us << " us; a token further: median " << update_us << " us, 95th percentile "
                       << update_worst_us << " us");
  // The goals are 200 and 20 us. Only said, not checked: a busy machine with a sanitizer takes forty times as long.
}

}  // namespace
}  // namespace coppice::kernels
