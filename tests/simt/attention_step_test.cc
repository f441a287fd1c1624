// The memory of a step's attention: what is reserved at the start is enough for every plan that keeps to it.
#include "kernels/cuda/attention/step.h"

#include <catch2/catch.hpp>

#include "kernels/cuda/attention/attention.h"

namespace coppice::kernels::cuda {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

// A large GPU, most of it free.
constexpr MemoryFacts kLarge{.total_bytes = 144384 * kMiB, .free_bytes = 70000 * kMiB};

StepLimits limits_of(std::int32_t tokens, std::int32_t query_heads) {
  return {.tokens = tokens,
          .logits = 512,
          .sequences = 256,
          .sequence_tokens = 32768,
          .query_heads = query_heads,
          .key_heads = 8,
          .head_dim = 128,
          .vocab = 1000,
          .workers = 264};
}

std::size_t bytes_of(std::int32_t partials, const StepLimits& limits) {
  return attention_partial_floats(partials, limits.query_heads, limits.head_dim) * sizeof(float);
}

TEST_CASE("partials get room for every split of every row, or a share of the memory, but a slot for every row") {
  // 512 rows, the state and 104 splits of each: 873 MB.
  const StepLimits usual = limits_of(512, 32);
  CHECK(attention_partials_most(usual, kLarge) == 512 * (1 + 104));
  // 1/32 of 24 GiB; a quarter of what is free; 256 MiB whatever is free.
  const std::size_t slot = bytes_of(1, usual);
  const std::size_t total = 24576 * kMiB;
  const auto slots_of = [&](std::size_t bytes) { return static_cast<std::int32_t>(bytes / slot); };
  CHECK(attention_partials_most(usual, {total, 12000 * kMiB}) == slots_of(768 * kMiB));
  CHECK(attention_partials_most(usual, {total, 2000 * kMiB}) == slots_of(500 * kMiB));
  CHECK(attention_partials_most(usual, {total, 100 * kMiB}) == slots_of(256 * kMiB));
  // The states alone of 8,192 rows of 64 heads are more than 256 MiB.
  const StepLimits wide = limits_of(8192, 64);
  CHECK(bytes_of(8192, wide) > 256 * kMiB);
  CHECK(attention_partials_most(wide, {total, 100 * kMiB}) == 8192);
}

TEST_CASE("a plan that keeps to what was reserved takes no memory") {
  // 64 sequences over 4,096 tokens.
  std::vector<std::vector<PageId>> tables(64);
  std::vector<PlanSequence> sequences;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    for (PageId page = 0; page < 256; ++page) {
      tables[i].push_back(page);
    }
    tables[i].push_back(256 + static_cast<PageId>(i));
    sequences.push_back(
        {.pages = tables[i], .row_begin = static_cast<std::int32_t>(i), .row_count = 1, .position_begin = 4096});
  }
  const AttentionParameters parameters{.query_heads = 4, .key_heads = 1, .head_dim = 8};
  const StepLimits limits{.tokens = 64,
                          .logits = 64,
                          .sequences = 64,
                          .sequence_tokens = 8192,
                          .query_heads = 4,
                          .key_heads = 1,
                          .head_dim = 8,
                          .vocab = 100,
                          .workers = 100};
  PlanOptions options{.group_size = 4, .key_heads = 1, .workers = 100};
  constexpr std::int32_t kReserved = 200;  // slots
  AttentionStep step;
  REQUIRE(step.reserve(limits, kReserved, nullptr).ok());
  AttentionPlanner planner;
  options.partials_most = kReserved;
  CHECK_FALSE(step.prepare(planner.plan(sequences, options), parameters, nullptr));
  options.partials_most = PlanOptions{}.partials_most;
  CHECK(step.prepare(planner.plan(sequences, options), parameters, nullptr));  // as a benchmark's may
}

TEST_CASE("the blocks of a long prompt's rows are among the items that are reserved for") {
  // 71 query heads of one key head: a block has few of its 8,192 rows.
  const std::int32_t rows = 8192;
  std::vector<PageId> pages(rows / 16);
  for (std::size_t i = 0; i < pages.size(); ++i) {
    pages[i] = static_cast<PageId>(i);
  }
  const PlanSequence prompt{.pages = pages, .row_begin = 0, .row_count = rows, .position_begin = 0};
  const AttentionParameters parameters{.query_heads = 71, .key_heads = 1, .head_dim = 8};
  const StepLimits limits{.tokens = rows,
                          .logits = 64,
                          .sequences = 16,
                          .sequence_tokens = rows,
                          .query_heads = 71,
                          .key_heads = 1,
                          .head_dim = 8,
                          .vocab = 100,
                          .workers = 264};
  AttentionStep step;
  REQUIRE(step.reserve(limits, rows, nullptr).ok());
  AttentionPlanner planner;
  const PlanOptions options{
      .group_size = 71, .key_heads = 1, .workers = 264, .costs = kGpuPlanCosts, .partials_most = rows};
  const AttentionPlan& plan = planner.plan(std::span(&prompt, 1), options);
  CHECK(plan.items.size() >= rows);
  CHECK_FALSE(step.prepare(plan, parameters, nullptr));
  CHECK(attention_plan_bytes(plan, 71, 8) <= attention_plan_bytes_most(limits));
}

}  // namespace
}  // namespace coppice::kernels::cuda
