// The engine in a seeded world: thousands of random requests on a truth oracle, in pools that are too small.
#include <catch2/catch.hpp>
#include <chrono>

#include "tests/sim/simulation.h"

namespace coppice::testing {
namespace {

World busy_world(std::uint64_t seed) {
  World world;
  world.seed = seed;
  world.limits = small_limits();
  world.device.asynchronous = seed % 2 == 0;
  return world;
}

}  // namespace

TEST_CASE("every answer of a crowded engine is the oracle's", "[sim]") {
  for (const bool prefix_cache : {false, true}) {
    World world = busy_world(prefix_cache ? 11 : 12);
    world.prefix_cache = prefix_cache;
    world.limits.pages = 26;
    world.limits.model_tokens_max = 26 * 16;
    world.output_max = 90;
    Simulation simulation(world);
    const Tally tally = simulation.run();
    CHECK(tally.completed >= world.requests);
    CHECK(simulation.engine().stats().preemptions > 0);
  }
}

TEST_CASE("drafts change nothing but the number of steps", "[sim]") {
  for (const bool asynchronous : {false, true}) {
    World world = busy_world(21);
    world.device.asynchronous = asynchronous;
    world.drafts_in = 1;
    world.limits.pages = 24;
    world.limits.model_tokens_max = 24 * 16;
    world.output_max = 90;
    Simulation simulation(world);
    const Tally tally = simulation.run();
    CHECK(tally.completed >= world.requests);
    const engine::EngineStats stats = simulation.engine().stats();
    CHECK(stats.drafts.accepted > 1000);
    CHECK(stats.drafts.accepted < stats.drafts.tokens);
    CHECK(stats.preemptions > 0);
  }
}

TEST_CASE("labels and hidden states are read as the oracle reads them, among requests that generate",
          "[sim][reading]") {
  for (std::uint64_t seed = 121; seed < 131; ++seed) {
    World world = busy_world(seed);
    world.readings_in = seed % 3 == 0 ? 1 : 2;
    world.prefix_cache = seed % 4 != 0;
    world.drafts_in = seed % 2 == 0 ? 1 : 0;
    world.device.works_for = static_cast<std::int32_t>(seed % 3);
    world.cancels_in = seed % 5 == 0 ? 8 : 0;
    world.deadlines_in = seed % 5 == 0 ? 8 : 0;
    world.device.collect_fails_in = seed % 5 == 1 ? 60 : 0;
    world.limits.pages = 26 + static_cast<std::int32_t>(seed % 2) * 20;
    world.limits.model_tokens_max = 26 * 16;
    Simulation simulation(world);
    const Tally tally = simulation.run();
    INFO("seed " << seed);
    CHECK(tally.read > world.requests / 2);
    CHECK((world.readings_in == 1 || tally.completed > tally.read));
  }
}

TEST_CASE("clients that leave, deadlines, priorities and failures hurt no other client", "[sim]") {
  for (std::uint64_t seed = 31; seed < 37; ++seed) {
    World world = busy_world(seed);
    world.cancels_in = 4;
    world.deadlines_in = 8;
    world.priorities = 3;
    world.drafts_in = seed % 2 == 0 ? 1 : 0;
    world.device.submit_fails_in = seed % 3 == 0 ? 50 : 0;
    world.device.collect_fails_in = seed % 3 == 1 ? 50 : 0;
    world.limits.pages = 40 + static_cast<std::int32_t>(seed - 31) * 8;
    Simulation simulation(world);
    const Tally tally = simulation.run();
    CHECK(tally.completed > 0);
    CHECK(tally.cut_short > 0);
  }
}

TEST_CASE("constrained answers are the oracle's among others, whatever fails or is drafted", "[sim][constraint]") {
  std::int64_t unruly = 0;
  std::uint64_t forced = 0;
  for (std::uint64_t seed = 141; seed < 161; ++seed) {
    World world = busy_world(seed);
    world.constraints.in = 1 + static_cast<std::uint32_t>(seed % 3);
    world.constraints.failing_in = seed % 4 == 0 ? 3 : 0;
    world.drafts_in = seed % 3 == 0 ? 0 : seed % 2 == 0 ? 1 : 5;
    world.device.works_for = static_cast<std::int32_t>(seed % 3);
    world.device.step_ns = seed % 5 == 0 ? 300'000 : 0;
    world.device.broken_in = seed % 7 == 0 ? 500 : 0;
    world.device.submit_fails_in = seed % 9 == 0 ? 60 : 0;
    world.device.collect_fails_in = seed % 9 == 1 ? 60 : 0;
    world.cancels_in = seed % 5 == 1 ? 8 : 0;
    world.deadlines_in = seed % 5 == 1 ? 8 : 0;
    world.readings_in = seed % 8 == 3 ? 4 : 0;
    world.prefix_cache = seed % 4 != 1;
    world.output_max = 70;
    world.limits.pages = 26 + static_cast<std::int32_t>(seed % 3) * 30;
    world.limits.model_tokens_max = 26 * 16;
    Simulation simulation(world);
    const Tally tally = simulation.run();
    const engine::EngineStats stats = simulation.engine().stats();
    INFO("seed " << seed);
    CHECK(tally.completed > world.requests / 4);
    CHECK(stats.constraints.masks > 1000);
    CHECK(stats.constraints.failed == static_cast<std::uint64_t>(tally.unruly));
    CHECK(stats.constraints.forced_accepted * 10 >= stats.constraints.forced_drafted * 9);  // stop tokens, lost steps
    unruly += tally.unruly;
    forced += stats.constraints.forced_accepted;
  }
  CHECK(unruly > 300);
  CHECK(forced > 10'000);
}

TEST_CASE("logits that are no numbers end their own answer, and no other", "[sim]") {
  std::int64_t broken = 0;
  for (std::uint64_t seed = 51; seed < 63; ++seed) {
    World world = busy_world(seed);
    world.device.broken_in = 300;
    world.device.asynchronous = seed % 2 == 0;
    world.device.works_for = static_cast<std::int32_t>(seed % 3);
    world.drafts_in = seed % 3 != 0 ? 1 : 0;
    world.cancels_in = seed % 4 == 0 ? 8 : 0;
    world.limits.pages = 40 + static_cast<std::int32_t>(seed % 5) * 30;
    Simulation simulation(world);
    const Tally tally = simulation.run();
    CHECK(tally.completed > 0);
    broken += tally.broken;
  }
  CHECK(broken > 100);
}

TEST_CASE("what is planned while a step runs changes no answer, whatever happens meanwhile", "[sim][ahead]") {
  for (std::uint64_t seed = 71; seed < 83; ++seed) {
    World world = busy_world(seed);
    world.device.asynchronous = true;
    world.device.works_for = static_cast<std::int32_t>(seed % 4);
    world.cancels_in = 8;
    world.deadlines_in = 8;
    world.priorities = seed % 3 == 0 ? 3 : 1;
    world.drafts_in = seed % 2 != 0 ? 0 : seed % 4 == 0 ? 1 : 20;
    world.device.step_ns = seed % 3 == 0 ? 100'000 : 0;
    world.device.submit_fails_in = seed % 5 == 0 ? 60 : 0;
    world.device.collect_fails_in = seed % 5 == 1 ? 60 : 0;
    world.prefix_cache = seed % 7 != 0;
    world.limits.pages = seed % 2 == 0 ? 40 : 150;
    world.shares_in = seed % 3 == 1 ? 0 : 2;
    Simulation simulation(world);
    const Tally tally = simulation.run();
    CHECK(tally.completed > 0);
    CHECK(tally.cut_short > 0);
    INFO("seed " << seed << " steps " << tally.steps << " ahead " << simulation.executor().submitted_as_prepared());
    CHECK(simulation.executor().submitted_as_prepared() > (seed % 4 == 0 ? 0 : tally.steps / 8));
    CHECK(simulation.executor().prepared() >= simulation.executor().submitted_as_prepared());
  }
}

TEST_CASE("a seed makes the same world again, event by event", "[sim][seed]") {
  std::uint64_t drafts = 0;
  std::int64_t as_prepared = 0;
  std::int64_t prepared = 0;
  for (std::uint64_t seed = 1000; seed < 1200; ++seed) {
    World world = busy_world(seed);
    world.requests = 40;
    world.device.works_for = static_cast<std::int32_t>(seed % 5);
    world.cancels_in = 12;
    world.deadlines_in = 12;
    world.drafts_in = seed % 4 >= 2 ? 0 : seed % 3 == 0 ? 1 : 20;
    world.readings_in = seed % 6 == 0 ? 3 : 0;
    world.constraints.in = seed % 5 == 0 ? 2 : 0;
    world.device.step_ns = seed % 3 == 0 ? 0 : 200'000 * (seed % 7);  // by which drafts and planning are timed
    world.device.collect_fails_in = seed % 8 == 1 ? 100 : 0;
    world.limits.pages = seed % 5 < 2 ? 40 : 100;
    Simulation first(world);
    Simulation second(world);
    first.run();
    second.run();
    INFO("seed " << seed);
    REQUIRE(first.log() == second.log());
    const engine::EngineStats stats = first.engine().stats();
    REQUIRE(stats.drafts.tokens == second.engine().stats().drafts.tokens);
    REQUIRE(stats.times.plan_ns == second.engine().stats().times.plan_ns);  // the same looks at the clock
    REQUIRE(first.executor().prepared() == second.executor().prepared());
    drafts += stats.drafts.tokens;
    prepared += first.executor().prepared();
    as_prepared += first.executor().submitted_as_prepared();
  }
  CHECK(drafts > 1000);
  CHECK(as_prepared > 1000);
  CHECK(prepared > as_prepared);
}

TEST_CASE("a copy of a plan runs again when its engine is gone", "[sim]") {
  for (const bool asynchronous : {false, true}) {
    std::vector<RecordedStep> steps;
    World world = busy_world(91);
    world.device.asynchronous = asynchronous;
    world.requests = 200;
    world.drafts_in = 3;
    world.constraints.in = 2;
    world.recording = &steps;
    { Simulation(world).run(); }
    std::size_t masks = 0;
    std::size_t moves = 0;
    std::size_t copies = 0;
    for (const RecordedStep& step : steps) {
      masks += step.plan.lists.allowed.size();
      moves += step.plan.moves.size();
      copies += step.plan.copies.size();
    }
    CHECK(masks > 0);
    CHECK(moves > 0);
    CHECK(copies > 0);
    FakeExecutor::Options fake = executor_options(world);
    fake.asynchronous = false;
    FakeExecutor another(model_of(world), fake);
    CHECK(run_again(steps, another) == steps.size());
  }
}

TEST_CASE("a pool of one sequence, one row a step, one sequence at a time", "[sim]") {
  for (const std::int32_t rows : {1, 2, 7}) {
    World world = busy_world(41);
    world.requests = 200;
    world.limits.pages = world.limits.model_tokens_max / world.limits.page_size;
    world.limits.step_tokens_max = rows;
    world.limits.running_max = rows;
    world.limits.step_logits_max = rows;
    world.limits.chunk_tokens_max = rows;
    world.drafts_in = 1;
    Simulation simulation(world);
    CHECK(simulation.run().completed >= world.requests);
  }
}

TEST_CASE("a full queue refuses and the rest is served", "[sim]") {
  World world = busy_world(51);
  world.live_max = 1000;
  world.arrivals_max = 40;
  world.limits.queued_max = 8;
  Simulation simulation(world);
  const Tally tally = simulation.run();
  CHECK(tally.refused > 0);
  CHECK(tally.completed > 0);
}

TEST_CASE("the simulator serves a thousand requests a second", "[sim][speed]") {
  World world = busy_world(61);
  world.requests = 4000;
  world.drafts_in = 1;
  Simulation simulation(world);
  const auto begin = std::chrono::steady_clock::now();
  simulation.run();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  WARN(world.requests / seconds << " requests a second");
}

}  // namespace coppice::testing
