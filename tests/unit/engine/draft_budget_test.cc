// StepCost: learns stairs and slopes, shrugs off outliers, stays monotone, survives a restart. The draft budget against
// a plain search for the best number of guesses, and at the edges: idle device, full device, unknown costs.
#include "engine/draft_budget.h"

#include <catch2/catch.hpp>
#include <cmath>

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

double noise(std::uint64_t index) {
  return 0.95 + 0.1 * base::philox4x32(7, index, 0)[0] / 4294967296.0;
}

// A machine that waits for memory up to 6 rows and computes beyond.
double true_ns(std::int32_t rows) {
  return rows <= 6 ? 12e6 : 2e6 * rows;
}

TEST_CASE("a proposal goes on where forced tokens end, and beside them as far as they may be wrong", "[drafts]") {
  std::vector<std::int32_t> scratch;
  DraftTree proposal;  // after nothing: 5 (then 6, then 7 or 9; or 8) or 4
  proposal.add(5, -1, 0.5F);
  proposal.add(4, -1, 0.25F);
  proposal.add(6, 0, 0.4F);
  proposal.add(8, 0, 0.1F);
  proposal.add(7, 2, 0.3F);
  proposal.add(1, 3, 0.1F);
  proposal.add(9, 2, 0.1F);
  proposal.add(2, 4, 0.2F);
  const auto chain_of = [](const std::vector<TokenId>& tokens, float survival) {
    DraftTree chain;
    for (const TokenId token : tokens) {
      chain.add(token, chain.size() - 1, chain.size() == 0 ? survival : chain.survival.back() * survival);
    }
    return chain;
  };
  DraftTree tree = chain_of({5, 6}, 1);
  graft(proposal, 10, tree, scratch);
  CHECK(tree.tokens == std::vector<TokenId>{5, 6, 7, 9, 2});
  CHECK(tree.parents == std::vector<std::int32_t>{-1, 0, 1, 1, 2});
  CHECK(tree.survival[2] == Approx(0.3F / 0.4F));
  CHECK(tree.survival[4] == Approx(0.2F / 0.4F));
  tree = chain_of({5, 6}, 1);
  graft(proposal, 3, tree, scratch);
  CHECK(tree.tokens == std::vector<TokenId>{5, 6, 7});
  tree = chain_of({5, 3}, 1);
  graft(proposal, 10, tree, scratch);
  CHECK(tree.tokens == std::vector<TokenId>{5, 3});
  tree = chain_of({5, 6}, 0.5F);
  graft(proposal, 10, tree, scratch);
  CHECK(tree.tokens == std::vector<TokenId>{5, 6, 4, 8, 7, 1, 9, 2});
  CHECK(tree.parents == std::vector<std::int32_t>{-1, 0, -1, 0, 1, 3, 1, 4});
  CHECK(tree.survival[2] == Approx(0.5F * 0.25F));
  CHECK(tree.survival[4] == Approx(0.25F * 0.3F / 0.4F));
  tree = chain_of({}, 1);
  graft(proposal, 10, tree, scratch);
  CHECK(tree.tokens == proposal.tokens);
  CHECK(tree.parents == proposal.parents);
  for (std::size_t i = 0; i < tree.survival.size(); ++i) {
    CHECK(tree.survival[i] == Approx(proposal.survival[i]));
  }
}

TEST_CASE("steps that all carried drafts say nothing of a step without them", "[drafts]") {
  StepCost cost;
  CHECK_FALSE(cost.covers(32));
  for (int i = 0; i < 20; ++i) {
    cost.observe(78, 61e6, 0, 0);
  }
  CHECK_FALSE(cost.covers(32));
  CHECK(cost.covers(78));
  CHECK(cost.covers(500));
  cost.observe(32, 26e6, 0, 0);
  CHECK(cost.covers(32));
  CHECK(cost.covers(33));
  CHECK_FALSE(cost.covers(16));
}

TEST_CASE("forced tokens are believed until they are wrong, and again when they are right", "[drafts]") {
  ForcedSurvival survival;
  for (int i = 0; i < 100; ++i) {
    survival.observe(5, 5);
  }
  CHECK(survival.value() == 1);
  for (int i = 0; i < 2000; ++i) {
    survival.observe(5, 0);  // its first token is wrong, which says nothing of the others
  }
  CHECK(survival.value() < 0.4F);
  CHECK(survival.value() > 0);
  for (int i = 0; i < 2000; ++i) {
    survival.observe(5, 5);
  }
  CHECK(survival.value() > 0.95F);
}

TEST_CASE("A curve of a memory-bound machine is learned from noisy steps", "[step_cost]") {
  StepCost cost;
  std::uint64_t index = 0;
  for (int round = 0; round < 30; ++round) {
    for (const std::int32_t rows : {1, 3, 6, 9, 30, 250}) {
      cost.observe(rows, true_ns(rows) * noise(++index), 1e3 * rows, 10.0 * rows);
    }
  }
  for (const std::int32_t rows : {1, 2, 3, 5, 6, 9, 30, 100, 250}) {
    CAPTURE(rows);
    CHECK(cost.body_ns(rows) == Approx(true_ns(rows)).epsilon(0.15));
  }
  CHECK(cost.ns_per_key() == Approx(100).epsilon(0.01));
}

TEST_CASE("The curve never falls", "[step_cost]") {
  StepCost cost;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const auto words = base::philox4x32(3, i, 0);
    cost.observe(1 + static_cast<std::int32_t>(words[0] % 600), 1e5 + words[1] % 100000000, 0, 0);
    double before = 0;
    for (std::int32_t rows = 1; rows < 700; ++rows) {
      const double ns = cost.body_ns(rows);
      REQUIRE(ns >= before);
      before = ns;
    }
  }
}

TEST_CASE("One slow step does not scare the budget away for good", "[step_cost]") {
  StepCost cost;
  for (int i = 0; i < 20; ++i) {
    cost.observe(1, 10e6, 0, 0);
    cost.observe(16, 16e6, 0, 0);
  }
  cost.observe(8, 300e6, 0, 0);  // the first and only look at 8 rows
  CHECK(cost.body_ns(8) <= 2.5e7);
  cost.observe(1, 400e6, 0, 0);
  CHECK(cost.body_ns(1) <= 1.2e7);
}

TEST_CASE("A cold first step does not make drafts look dear for ever", "[step_cost]") {
  StepCost cost;
  cost.observe(32, 360e6, 0, 0);  // a prompt, with the program's first touch of its memory
  for (int i = 0; i < 100; ++i) {
    cost.observe(1, 50e3, 0, 0);
  }
  CHECK(cost.body_ns(2) - cost.body_ns(1) < 0.7 * cost.body_ns(1));  // worth a try when likely to be accepted
}

TEST_CASE("Other programs that stop some steps for long do not bend the curve", "[step_cost]") {
  // A CPU that computes: 5 ms and 0.6 ms a row. One step in ten waits for another program, up to 60 ms.
  const auto computing_ns = [](std::int32_t rows) { return 5e6 + 0.6e6 * rows; };
  double worst = 0;
  for (std::uint64_t machine = 0; machine < 20; ++machine) {
    StepCost cost;
    for (std::uint64_t step = 0; step < 400; ++step) {
      const auto words = base::philox4x32(21, step, machine);
      const std::int32_t rows = words[0] % 3 == 0 ? 16 + static_cast<std::int32_t>(words[1] % 24) : 16;
      const double stop_ns = words[2] % 10 == 0 ? static_cast<double>(words[3] % 60'000'000) : 0;
      cost.observe(rows, computing_ns(rows) * noise(step + 1000 * machine) + stop_ns, 0, 0);
      if (step >= 100) {
        const double learned = cost.body_ns(30) / cost.body_ns(16);
        worst = std::max(worst, std::abs(learned / (computing_ns(30) / computing_ns(16)) - 1));
      }
    }
  }
  CHECK(worst < 0.12);  // a mean of the last steps is off by more than a sixth
}

TEST_CASE("The first step of a size counts with those that follow it", "[step_cost]") {
  StepCost cost;
  for (const double ns : {10e6, 20e6, 10e6}) {
    cost.observe(4, ns, 0, 0);
  }
  CHECK(cost.body_ns(4) == 10e6);  // the median of three; that of the last two is 20e6
}

TEST_CASE("A machine that became slower is believed in the end", "[step_cost]") {
  StepCost cost;
  for (int i = 0; i < 50; ++i) {
    cost.observe(1, 10e6, 0, 0);
  }
  for (int i = 0; i < 100; ++i) {
    cost.observe(1, 50e6, 0, 0);
  }
  CHECK(cost.body_ns(1) == Approx(50e6).epsilon(0.1));
}

TEST_CASE("What was learned survives as text; foreign text changes nothing", "[step_cost]") {
  StepCost cost;
  for (const std::int32_t rows : {1, 4, 20, 500}) {
    cost.observe(rows, true_ns(rows), 5e5, 1000);
  }
  StepCost again;
  REQUIRE(again.restore(cost.to_string()).ok());
  for (std::int32_t rows = 1; rows < 600; rows += 7) {
    CHECK(again.body_ns(rows) == Approx(cost.body_ns(rows)).epsilon(1e-4));
  }
  CHECK(again.ns_per_key() == Approx(cost.ns_per_key()).epsilon(1e-4));
  const double before = again.body_ns(4);
  for (const char* text : {"", "step-cost 2\n", "step-cost 1\nrows 1 2\n", "step-cost 1\nrows 1 -5 1\n",
                           "step-cost 1\nrows nan nan nan\n", "step-cost 1\nfoo\n"}) {
    CHECK_FALSE(again.restore(text).ok());
    CHECK(again.body_ns(4) == before);
  }
}

TEST_CASE("Nothing is learned from steps without a time", "[step_cost]") {
  StepCost cost;
  cost.observe(4, 0, 0, 0);
  cost.observe(0, 100, 0, 0);
  CHECK_FALSE(cost.known());
}

TEST_CASE("asking may take a hundredth of a step, but 30 us, but a tenth of a short step", "[drafts]") {
  const DraftPolicy policy;
  CHECK(policy.asking_ns(20'000'000) == 200'000);
  CHECK(policy.asking_ns(3'000'000) == 30'000);
  CHECK(policy.asking_ns(500'000) == 30'000);
  CHECK(policy.asking_ns(300'000) == 30'000);
  CHECK(policy.asking_ns(120'000) == 12'000);
  CHECK(policy.asking_ns(0) == 0);
  CHECK(policy.asking_ns_most(12'000'000) == 1'000'000);
  CHECK(policy.asking_ns_most(120'000) == 12'000);
}

TEST_CASE("each sequence is asked for twice its share of the room", "[drafts]") {
  DraftPolicy policy;
  CHECK(policy.nodes_each(100, 0) == 32);
  CHECK(policy.nodes_each(100, 9) == 20);
  CHECK(policy.nodes_each(100, 60) == 4);
  CHECK(policy.nodes_each(0, 3) == 4);
  policy.nodes_max = 8;
  CHECK(policy.nodes_each(100, 9) == 8);
  policy.takes_all = true;
  CHECK(policy.nodes_each(0, 60) == 8);
}

TEST_CASE("the numbers of drafting are these", "[drafts]") {
  const DraftPolicy policy;
  CHECK(policy.nodes_max == 32);
  CHECK(policy.teach_before == 48);
  CHECK(policy.others_in == 4);
  CHECK(policy.teach_beside == 48);
  CHECK(policy.catch_up_beside == 32);
  CHECK(policy.teach_slice == 48);
  CHECK(policy.catch_up_idle == 1024);
  CHECK(policy.debt_max == 8);
  CHECK(policy.promise_share == 0.5);
}

TEST_CASE("asking stops when its time is spent and goes on where it stopped", "[drafts]") {
  const DraftPolicy policy;
  AskingTurn turn;
  turn.begin_step(policy, 10'000'000);  // 100 us
  CHECK(turn.has_time());
  CHECK(turn.first(5) == 0);
  turn.asked(0, 60'000, 0);
  CHECK(turn.has_time());
  turn.asked(1, 60'000, 0);
  CHECK_FALSE(turn.has_time());
  CHECK(turn.first(5) == 2);
  CHECK(turn.first(2) == 0);
  CHECK(turn.first(0) == 0);
  turn.begin_step(policy, 10'000'000);  // 20 us are owed
  turn.asked(2, 70'000, 0);
  CHECK(turn.has_time());
  turn.asked(3, 11'000, 0);
  CHECK_FALSE(turn.has_time());
}

TEST_CASE("time is not saved up, a debt is bounded, and promises add time up to a twelfth of the step", "[drafts]") {
  const DraftPolicy policy;
  AskingTurn turn;
  for (int step = 0; step < 10; ++step) {
    turn.begin_step(policy, 10'000'000);
  }
  turn.asked(0, 101'000, 0);
  CHECK_FALSE(turn.has_time());
  turn.asked(0, 1e9, 0);  // interrupted
  int steps = 0;
  do {
    turn.begin_step(policy, 10'000'000);
    ++steps;
  } while (!turn.has_time());
  CHECK(steps == 10);  // eight allowances are owed: the first of these steps owes them, the tenth has time again
  turn.asked(0, 500'000, 5e6);
  CHECK(turn.has_time());
  turn.asked(0, 400'000, 5e6);  // more than 833 us in all
  CHECK_FALSE(turn.has_time());
}

}  // namespace
}  // namespace coppice::engine
