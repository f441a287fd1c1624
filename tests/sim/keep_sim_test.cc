// Kept prefixes in a seeded world: they change no answer, hold up no request however many there are, and end with time.
#include <catch2/catch.hpp>

#include "tests/sim/simulation.h"

namespace coppice::testing {
namespace {

World keeping_world(std::uint64_t seed, std::int32_t account_pages, std::int32_t pages) {
  World world;
  world.seed = seed;
  world.limits = small_limits();
  world.limits.kept = {account_pages, pages};
  world.device.asynchronous = seed % 2 == 0;
  world.keeps_in = 2;
  world.readings_in = 4;
  return world;
}

}  // namespace

TEST_CASE("kept prefixes and requests in the background change no answer", "[sim][keep]") {
  for (std::uint64_t seed = 201; seed < 209; ++seed) {
    World world = keeping_world(seed, 8, 12);
    world.background_in = seed % 3 == 0 ? 0 : 3;
    world.cancels_in = seed % 4 == 0 ? 6 : 0;
    world.deadlines_in = seed % 4 == 1 ? 8 : 0;
    world.priorities = seed % 2 == 0 ? 3 : 1;
    world.limits.priority_across_tenants = seed % 5 == 0;
    world.drafts_in = seed % 2 == 1 ? 1 : 0;
    world.device.collect_fails_in = seed % 8 == 5 ? 60 : 0;
    world.device.works_for = static_cast<std::int32_t>(seed % 3);
    Simulation simulation(world);
    CHECK(simulation.run().completed > world.requests / 4);
  }
}

TEST_CASE("a pool full of kept prefixes admits every request", "[sim][keep]") {
  for (std::uint64_t seed = 301; seed < 305; ++seed) {
    World world = keeping_world(seed, 26, 26);  // all pages may be kept, and each request keeps what it can
    world.keeps_in = 1;
    world.limits.pages = 26;
    world.limits.model_tokens_max = 26 * 16;
    world.output_max = 90;
    Simulation simulation(world);
    CHECK(simulation.run().completed >= world.requests);
  }
}

TEST_CASE("a seed makes the same kept prefixes again", "[sim][keep][seed]") {
  for (std::uint64_t seed = 401; seed < 441; ++seed) {
    World world = keeping_world(seed, 10, 15);
    world.requests = 60;
    world.background_in = 4;
    Simulation first(world);
    Simulation second(world);
    first.run();
    second.run();
    INFO("seed " << seed);
    REQUIRE(first.log() == second.log());
  }
}

}  // namespace coppice::testing
