// StepCost: learns stairs and slopes, shrugs off outliers, stays monotone, survives a restart.
#include "engine/step_cost.h"

#include <catch2/catch.hpp>

#include "base/random.h"

namespace coppice::engine {
namespace {

double noise(std::uint64_t index) {
  return 0.95 + 0.1 * base::philox4x32(7, index, 0)[0] / 4294967296.0;
}

// A machine that waits for memory up to 6 rows and computes beyond.
double true_ns(std::int32_t rows) {
  return rows <= 6 ? 12e6 : 2e6 * rows;
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

}  // namespace
}  // namespace coppice::engine
