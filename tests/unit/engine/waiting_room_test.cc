// Which requests may wait, which are refused because they would wait beyond their deadline, and for how long.
#include "engine/waiting_room.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/support/fake_engine.h"

namespace coppice::testing {
namespace {

using engine::Overload;
using engine::OverloadReason;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A room at a time that the test moves.
struct World {
  World() { room.set_free(0, false, now); }
  bool enter(const std::string& account, std::int32_t count = 1) { return !ask(account, count).exists(); }
  Overload ask(const std::string& account, std::int32_t count = 1) {
    return room.enter({.account = account, .count = count}, now);
  }
  Overload ask_by(const std::string& account, milliseconds time_left) {
    return room.enter({.account = account, .deadline = now + time_left}, now);
  }
  void leave(const std::string& account, std::int32_t count = 1) {
    room.leave({.account = account, .count = count}, now);
  }
  // `count` are served, one every `period`.
  void serve(const std::string& account, int count, milliseconds period) {
    for (int i = 0; i < count; ++i) {
      now += period;
      leave(account);
    }
  }

  engine::WaitingRoom room{100};
  engine::WaitingRoom::TimePoint now{seconds(1000)};
};

}  // namespace

TEST_CASE("no account fills the waiting room for another", "[engine][queue]") {
  World world;
  int alone = 0;
  while (world.enter("b")) {
    ++alone;
  }
  CHECK(alone == 100);  // one account gets all that --max-queued says
  int second = 0;
  while (world.enter("a")) {
    ++second;
  }
  CHECK(second == 50);
  for (int account = 0; account < 20; ++account) {
    CHECK(world.enter(std::to_string(account) + "c"));
  }
  world.leave("b", 100);
  CHECK(world.enter("a"));
  World several;
  CHECK(several.enter("b", 60));
  CHECK_FALSE(several.enter("b", 41));  // beyond --max-queued: none of them
  CHECK(several.enter("b", 40));
  CHECK_FALSE(several.enter("a", 51));  // as one by one
  CHECK(several.enter("a", 50));
  several.leave("b", 100);
  CHECK(several.enter("b", 75));
  engine::WaitingRoom one(1);
  CHECK_FALSE(one.enter({"b"}, {}).exists());
  CHECK(one.enter({"b"}, {}).exists());
  CHECK_FALSE(one.enter({"a"}, {}).exists());
}

TEST_CASE("a full line says how long half of it takes", "[engine][queue]") {
  World world;
  REQUIRE(world.enter("a", 100));
  CHECK(world.ask("a").reason == OverloadReason::kQueue);
  CHECK(world.ask("a").lasts == milliseconds(0));  // none has been served yet
  world.serve("a", 20, milliseconds(500));
  REQUIRE(world.enter("a", 20));
  const Overload full = world.ask("a");
  CHECK(full.reason == OverloadReason::kQueue);
  CHECK(full.lasts > milliseconds(24'000));  // 50 of them, two a second
  CHECK(full.lasts < milliseconds(26'000));
  world.now += seconds(60);  // the engine stands still: it is slower now than it was
  CHECK(world.ask("a").lasts > 2 * full.lasts);
}

TEST_CASE("a line that waits for KV pages says so", "[engine][queue]") {
  World world;
  REQUIRE(world.enter("a", 100));
  world.room.set_free(0, true, world.now);
  CHECK(world.ask("a").reason == OverloadReason::kKv);
  world.room.set_free(0, false, world.now);
  CHECK(world.ask("a").reason == OverloadReason::kQueue);
}

TEST_CASE("a deadline that the line cannot make is refused at once", "[engine][queue]") {
  World world;
  REQUIRE(world.enter("a", 60));
  CHECK_FALSE(world.ask_by("a", milliseconds(1)).exists());  // how fast the line moves is not known yet
  world.leave("a");
  world.serve("a", 20, milliseconds(100));
  // 40 are left, ten a second are served.
  const Overload late = world.ask_by("a", milliseconds(2000));
  CHECK(late.reason == OverloadReason::kDeadline);
  CHECK(late.lasts > milliseconds(1500));
  CHECK(late.lasts < milliseconds(2500));
  CHECK_FALSE(world.ask_by("a", milliseconds(6000)).exists());
  CHECK(world.room.wait(world.now) < milliseconds(400));
  // Another account has its own turn soon: it does not stand behind the first one's many.
  CHECK_FALSE(world.ask_by("b", milliseconds(2000)).exists());
  // No deadline, no judgement; and an empty room serves at once.
  CHECK(world.enter("a"));
  world.leave("a", 42);
  world.leave("b");
  CHECK_FALSE(world.ask_by("a", milliseconds(1)).exists());
}

TEST_CASE("many fast answers do not hide that the line is slow now", "[engine][queue]") {
  World world;
  for (int i = 0; i < 5000; ++i) {  // an idle engine takes each one at once
    REQUIRE(world.enter("a"));
    world.serve("a", 1, milliseconds(1));
  }
  REQUIRE(world.enter("a", 100));
  world.serve("a", 40, milliseconds(1000));
  CHECK(world.ask_by("a", seconds(20)).reason == OverloadReason::kDeadline);  // 60 are before it, one a second
}

TEST_CASE("places that were given back say nothing of how fast the line moves", "[engine][queue]") {
  World world;
  REQUIRE(world.enter("a", 90));
  world.room.give_back({.account = "a", .count = 80});
  CHECK_FALSE(world.ask_by("a", milliseconds(1)).exists());
  CHECK(world.enter("a", 80));
}

TEST_CASE("a pause makes the wait longer in proportion, whatever its length", "[engine][queue]") {
  World world;
  REQUIRE(world.enter("a", 9));
  world.serve("a", 8, seconds(1));
  world.now += seconds(120);  // one is left behind long answers
  CHECK_FALSE(world.ask_by("b", seconds(600)).exists());
  CHECK(world.ask_by("b", seconds(10)).reason == OverloadReason::kDeadline);
  for (int hours = 0; hours < 10; ++hours) {
    world.now += seconds(3600);
    CHECK(world.room.wait(world.now) > milliseconds(0));
    CHECK(world.room.wait(world.now) <= milliseconds(86'400'000));
  }
}

TEST_CASE("background work and low priorities are not before others", "[engine][queue]") {
  World world;
  REQUIRE(world.enter("a", 20));
  world.serve("a", 20, seconds(1));
  for (int i = 0; i < 60; ++i) {
    REQUIRE_FALSE(world.room.enter({.account = "a", .takes_turns = false}, world.now).exists());
  }
  CHECK_FALSE(world.ask_by("a", seconds(3)).exists());
  CHECK(world.ask_by("a", milliseconds(1500)).reason == OverloadReason::kDeadline);  // the one before it takes a second
  world.room.leave({.account = "a", .count = 60, .takes_turns = false}, world.now);
  CHECK(world.room.wait(world.now) > milliseconds(500));
  world.leave("a");
  CHECK(world.room.wait(world.now) == milliseconds(0));
}

TEST_CASE("free places of the engine take requests whatever the line once did", "[engine][queue]") {
  World world;
  REQUIRE(world.enter("a", 20));
  world.serve("a", 20, seconds(3));
  world.room.set_free(4, false, world.now);
  for (int i = 0; i < 4; ++i) {
    CHECK_FALSE(world.ask_by("a", milliseconds(400)).exists());
  }
  CHECK(world.ask_by("a", milliseconds(400)).reason == OverloadReason::kDeadline);  // behind the four
  world.now += seconds(120);
  world.room.set_free(4, false, world.now);
  CHECK_FALSE(world.ask_by("a", milliseconds(400)).exists());  // so old a pace says nothing
}

TEST_CASE("the engine refuses at once what its line cannot make, and reports how long requests waited",
          "[engine][queue]") {
  engine::Limits limits = roomy_limits();
  limits.running_max = 1;
  FakeEngine fake(limits);
  for (engine::RequestId id = 1; id <= 40; ++id) {
    REQUIRE(fake.submit(FakeEngine::request(id, 20, 3, static_cast<std::int32_t>(id))));
  }
  while (fake.heard(10).finishes == 0) {
    fake.now += milliseconds(100);
    fake.step();
  }
  CHECK(fake.heard(1).queued_ns < fake.heard(10).queued_ns);
  CHECK(fake.heard(10).queued_ns > 1'000'000'000U);
  CHECK(fake.core().stats().queue.wait_ms > 300);  // of another account: its turn is the next but one
  engine::Request hasty = FakeEngine::request(100, 20, 3);
  hasty.deadline = fake.now + seconds(1);
  hasty.events = std::make_shared<engine::EventQueue>(nullptr);
  CHECK(fake.core().submit_all({hasty}).reason == OverloadReason::kDeadline);
  hasty.priority = -1;  // it goes before the others
  CHECK_FALSE(fake.core().submit_all({hasty}).exists());
  fake.run();
  CHECK(fake.core().stats().queue.wait_ms == 0);
}

}  // namespace coppice::testing
