// When silence of the engine's thread means that it is stuck, and when that it computes.
#include "server/app/engine_watch.h"

#include <catch2/catch.hpp>

namespace coppice::server {
namespace {

using engine::EnginePulse;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct World {
  // Looks four times a second for `time`; returns whether the last look, or any, found it stuck.
  bool stuck_within(milliseconds time) {
    bool is_stuck = false;
    for (const auto end = now + time; now < end;) {
      now += milliseconds(250);
      is_stuck = watch.is_stuck(pulse, now) || is_stuck;
    }
    return is_stuck;
  }
  EngineWatch watch;
  EnginePulse pulse;
  EngineWatch::Clock::time_point now = EngineWatch::Clock::now();
};

}  // namespace

TEST_CASE("an idle engine is never stuck", "[watch]") {
  World world;
  CHECK_FALSE(world.stuck_within(seconds(3600)));
}

TEST_CASE("a command that is not taken is noticed within five seconds, from idle", "[watch]") {
  World world;
  CHECK_FALSE(world.stuck_within(seconds(100)));
  world.pulse.has_work = true;
  CHECK_FALSE(world.stuck_within(milliseconds(3750)));
  CHECK(world.stuck_within(milliseconds(1250)));
  CHECK(world.watch.silence() > seconds(4));
  world.pulse.turns += 2;  // it goes on
  CHECK_FALSE(world.stuck_within(seconds(4)));
}

TEST_CASE("an engine that steps is not stuck, however long it is busy", "[watch]") {
  World world;
  world.pulse = {.turns = 1, .rows = 64, .row_ns = 1'000'000, .has_work = true};
  for (int step = 0; step < 1000; ++step) {
    ++world.pulse.turns;
    REQUIRE_FALSE(world.stuck_within(milliseconds(500)));
  }
}

TEST_CASE("a step is given ten times what its rows take", "[watch]") {
  World world;
  world.pulse = {.turns = 1, .rows = 2000, .row_ns = 1'500'000, .has_work = true};  // 3 s at the slowest pace so far
  CHECK_FALSE(world.stuck_within(seconds(29)));
  CHECK(world.stuck_within(seconds(2)));
}

TEST_CASE("a step is given four seconds at least, a minute at most", "[watch]") {
  World small;
  small.pulse = {.turns = 1, .rows = 1, .row_ns = 1000, .has_work = true};
  CHECK_FALSE(small.stuck_within(milliseconds(3750)));
  CHECK(small.stuck_within(milliseconds(1250)));
  for (const std::uint64_t row_ns : {std::uint64_t{0}, std::uint64_t{1'000'000'000'000}, ~std::uint64_t{0} / 4}) {
    World large;
    large.pulse = {.turns = 1, .rows = 1 << 30, .row_ns = row_ns, .has_work = true};
    CHECK_FALSE(large.stuck_within(seconds(59)));
    CHECK(large.stuck_within(seconds(2)));
  }
}

TEST_CASE("the first step of all, whose pace is not known", "[watch]") {
  World world;
  world.pulse = {.turns = 1, .rows = 20, .row_ns = 0, .has_work = true};
  CHECK_FALSE(world.stuck_within(seconds(19)));
  CHECK(world.stuck_within(seconds(2)));
}

}  // namespace coppice::server
