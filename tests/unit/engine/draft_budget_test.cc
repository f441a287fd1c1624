// The draft budget against a plain search for the best number of guesses, and at the edges: idle device, full device,
// unknown costs.
#include "engine/draft_budget.h"

#include <catch2/catch.hpp>

#include "base/random.h"

namespace coppice::engine {
namespace {

StepCost cost_of(double fixed_ns, double row_ns, double memory_ns) {
  StepCost cost;
  for (int round = 0; round < 10; ++round) {
    for (std::int32_t rows = 1; rows <= 512; rows += rows < 16 ? 1 : rows / 8) {
      cost.observe(rows, std::max(memory_ns, fixed_ns + row_ns * rows), 0, 0);
    }
  }
  return cost;
}

std::vector<DraftCandidate> chain(std::initializer_list<float> survivals, std::int32_t member = 0) {
  std::vector<DraftCandidate> out;
  for (const float survival : survivals) {
    out.push_back({survival, 100, member, static_cast<std::int32_t>(out.size())});
  }
  return out;
}

TEST_CASE("A device that waits for memory takes what fits under its roof", "[draft_budget]") {
  const StepCost cost = cost_of(0, 1e6, 8e6);  // 8 rows for the price of one
  StepOutlook step{.rows = 1, .value = 1, .keys_attended = 0, .nodes_max = 100, .keys_per_node_min = 100};
  CHECK(survival_floor(cost, step) < 0.05F);
  auto candidates = chain({0.9F, 0.8F, 0.7F, 0.6F, 0.5F, 0.4F, 0.3F, 0.1F, 0.1F, 0.1F});
  CHECK(choose_drafts(cost, step, candidates) == 7);
}

TEST_CASE("A full device drafts nothing, and knows before anything is proposed", "[draft_budget]") {
  const StepCost cost = cost_of(1e5, 1e6, 8e6);
  StepOutlook step{.rows = 256, .value = 256, .keys_attended = 0, .nodes_max = 100, .keys_per_node_min = 100};
  CHECK(survival_floor(cost, step) > 0.9F);
  auto candidates = chain({0.8F, 0.7F, 0.6F});
  CHECK(choose_drafts(cost, step, candidates) == 0);
  step.nodes_max = 0;
  CHECK(survival_floor(cost, step) > 1.0F);
}

TEST_CASE("Long contexts make guesses dear", "[draft_budget]") {
  StepCost cost;
  for (int i = 0; i < 10; ++i) {
    for (const std::int32_t rows : {1, 4, 8, 16, 32}) {
      cost.observe(rows, 8e6, 100.0 * rows * 1000, 1000.0 * rows);  // 100 ns a key
    }
  }
  StepOutlook step{.rows = 1, .value = 1, .keys_attended = 1000, .nodes_max = 30, .keys_per_node_min = 1000};
  auto near = chain({0.5F, 0.4F, 0.3F});
  for (DraftCandidate& candidate : near) {
    candidate.keys = 1000;
  }
  CHECK(choose_drafts(cost, step, near) == 3);
  auto far = near;
  for (DraftCandidate& candidate : far) {
    candidate.keys = 400000;  // 40 ms each
  }
  CHECK(choose_drafts(cost, step, far) == 0);
}

TEST_CASE("While costs are unknown everything that fits is tried", "[draft_budget]") {
  const StepCost cost;
  StepOutlook step{.rows = 1, .value = 1, .keys_attended = 0, .nodes_max = 2, .keys_per_node_min = 1};
  CHECK(survival_floor(cost, step) == 0.0F);
  auto candidates = chain({0.9F, 0.5F, 0.1F});
  CHECK(choose_drafts(cost, step, candidates) == 2);
}

TEST_CASE("The choice is the best of all numbers of guesses, parents first", "[draft_budget]") {
  const StepCost cost = cost_of(2e6, 1e6, 6e6);
  for (std::uint64_t trial = 0; trial < 200; ++trial) {
    const auto words = base::philox4x32(11, trial, 0);
    StepOutlook step{.rows = 1 + static_cast<std::int32_t>(words[0] % 20), .nodes_max = 64, .keys_per_node_min = 0};
    step.value = step.rows;
    std::vector<DraftCandidate> candidates;
    for (std::int32_t member = 0; member < 3; ++member) {
      float survival = 1;
      for (std::int32_t node = 0; node < 12; ++node) {
        const auto draw = base::philox4x32(12, trial, static_cast<std::uint32_t>(member * 100 + node));
        survival *= draw[0] % 3 == 0 ? 1.0F : 0.5F + 0.5F * static_cast<float>(draw[1] % 1000) / 1000.0F;
        candidates.push_back({survival, 0, member, node});
      }
    }
    const std::int32_t count = choose_drafts(cost, step, candidates);
    double value = step.value;
    double best = value / cost.body_ns(step.rows);
    for (std::int32_t k = 1; k <= 36; ++k) {
      value += candidates[static_cast<std::size_t>(k) - 1].survival;
      best = std::max(best, value / cost.body_ns(step.rows + k));
    }
    value = step.value;
    std::vector<std::int32_t> next(3, 0);
    for (std::int32_t k = 0; k < count; ++k) {
      const DraftCandidate& candidate = candidates[static_cast<std::size_t>(k)];
      value += candidate.survival;
      CHECK(candidate.node == next[static_cast<std::size_t>(candidate.member)]++);
    }
    CHECK(value / cost.body_ns(step.rows + count) * kGainMin >= best * 0.999);
    if (count > 0) {
      CHECK(candidates[0].survival >= survival_floor(cost, step));
    }
  }
}

TEST_CASE("Pruning keeps a tree a tree", "[draft_budget]") {
  DraftTree tree;
  tree.add(10, -1, 0.9F);
  tree.add(11, 0, 0.3F);
  tree.add(12, 0, 0.8F);
  tree.add(13, 2, 0.7F);
  tree.add(14, -1, 0.05F);
  std::vector<std::int32_t> scratch;
  prune(tree, std::vector<std::uint8_t>{1, 0, 1, 1, 0}, scratch);
  CHECK(tree.tokens == std::vector<TokenId>{10, 12, 13});
  CHECK(tree.parents == std::vector<std::int32_t>{-1, 0, 1});
  CHECK(tree.survival == std::vector<float>{0.9F, 0.8F, 0.7F});
}

}  // namespace
}  // namespace coppice::engine
