// Priorities order a tenant's own requests and no others; none waits for ever; no account fills the queue for another.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "engine/lines.h"
#include "tests/support/fake_engine.h"

namespace coppice::testing {
namespace {

engine::Request request_of(const std::string& tenant, engine::RequestId id, std::int32_t priority,
                           std::int32_t output = 4) {
  engine::Request request = FakeEngine::request(id, 10, output, static_cast<std::int32_t>(id % 97));
  request.tenant = tenant;
  request.priority = priority;
  return request;
}

engine::Limits with_places(std::int32_t running_max) {
  engine::Limits limits = roomy_limits();
  limits.running_max = running_max;
  limits.queued_max = 10'000;
  return limits;
}

// Steps until request `id` has its first token.
std::int32_t steps_to_first_token(FakeEngine& fake, engine::RequestId id) {
  std::int32_t steps = 0;
  while (fake.heard(id).tokens.empty()) {
    REQUIRE(fake.step());
    REQUIRE(++steps < 20'000);
  }
  return steps;
}

}  // namespace

TEST_CASE("a priority orders its tenant's requests", "[engine][priority]") {
  FakeEngine fake(with_places(1));
  fake.submit(request_of("a", 1, 0));
  fake.step();
  for (const auto& [id, priority] : {std::pair(2, 3), {3, -2}, {4, 0}, {5, -1000}}) {
    fake.submit(request_of("a", static_cast<engine::RequestId>(id), priority));
  }
  for (const engine::RequestId id : {5, 3, 4, 2}) {
    steps_to_first_token(fake, id);
    for (const engine::RequestId later : {2, 4, 3}) {
      CHECK((later == id || fake.heard(id).finished() || fake.heard(later).tokens.empty() ||
             fake.heard(later).finished()));
    }
  }
  fake.run();
}

TEST_CASE("no priority lets a tenant go before another", "[engine][priority]") {
  for (const bool across : {false, true}) {
    engine::Limits limits = with_places(4);
    limits.priority_across_tenants = across;
    FakeEngine fake(limits);
    for (engine::RequestId id = 1; id <= 60; ++id) {
      fake.submit(request_of("b", id, -1000, 30));
    }
    fake.step();
    fake.submit(request_of("a", 100, 0));
    CHECK((steps_to_first_token(fake, 100) < 100) == !across);
    fake.run();
  }
}

TEST_CASE("the salts of a key have one share of service together", "[engine][priority]") {
  FakeEngine fake(with_places(4));
  for (engine::RequestId id = 1; id <= 60; ++id) {
    engine::Request request = request_of(std::to_string(id) + "|b", id, 0, 30);
    request.account = std::string("b");
    fake.submit(request);
  }
  fake.step();
  for (engine::RequestId id = 100; id < 104; ++id) {
    engine::Request request = request_of("a", id, 0);
    request.account = std::string("a");
    fake.submit(request);
    CHECK(steps_to_first_token(fake, id) < 100);
  }
  fake.run();
}

TEST_CASE("a request that waits is overtaken by a bounded number of better ones", "[engine][priority]") {
  FakeEngine fake(with_places(1));
  fake.submit(request_of("a", 1, 0));
  fake.step();
  fake.submit(request_of("a", 2, 4));  // as if it had come 128 requests later
  engine::RequestId next = 10;
  std::int32_t others = 0;
  while (fake.heard(2).tokens.empty()) {
    fake.submit(request_of("a", next++, 0, 1));
    REQUIRE(fake.step());
    REQUIRE(++others < 1000);
  }
  CHECK(others > 4 * engine::kAgePerPriority / 2);
  fake.run();
}

TEST_CASE("an urgent request takes the place of its own tenant's that has run a while, of no other's",
          "[engine][priority]") {
  engine::Limits limits = roomy_limits();
  limits.running_max = 2;
  for (const char* const tenant : {"a", "b"}) {
    FakeEngine fake(limits);
    fake.submit(request_of("a", 1, 5, 200));
    fake.submit(request_of("a", 2, 6, 200));
    for (int i = 0; i < 20; ++i) {
      fake.step();
    }
    fake.submit(request_of(tenant, 3, -1, 3));
    const std::int32_t steps = steps_to_first_token(fake, 3);
    CHECK((steps <= 3) == (*tenant == 'a'));
    CHECK(fake.core().stats().preemptions == 1);  // b's patience ends after some steps
    fake.run();
    CHECK(fake.heard(1).ids() == fake.true_ids(request_of("a", 1, 5, 200)));
    CHECK(fake.heard(2).ids() == fake.true_ids(request_of("a", 2, 6, 200)));
  }
}

TEST_CASE("the engine's pulse says whether there is work and whether it gets on", "[engine][pulse]") {
  FakeEngine fake(roomy_limits());
  CHECK_FALSE(fake.core().pulse().has_work);
  fake.submit(request_of("a", 1, 0, 3));
  const engine::EnginePulse waiting = fake.core().pulse();  // nothing has been taken, as if the thread were stuck
  CHECK(waiting.has_work);
  CHECK(waiting.rows == 0);
  fake.step();
  CHECK(fake.core().pulse().turns > waiting.turns);
  CHECK(fake.core().pulse().row_ns > 0);
  fake.run();
  while (fake.step()) {
  }
  CHECK_FALSE(fake.core().pulse().has_work);
}

TEST_CASE("requests in the background run on what others leave", "[engine][priority]") {
  for (const bool across : {false, true}) {
    for (const char* const tenant : {"a", "b"}) {
      engine::Limits limits = with_places(4);
      limits.priority_across_tenants = across;
      FakeEngine fake(limits);
      for (engine::RequestId id = 1; id <= 60; ++id) {
        engine::Request request = request_of("b", id, -1000, 30);
        request.background = true;
        fake.submit(request);
      }
      fake.step();
      for (engine::RequestId id = 100; id < 120; ++id) {  // others come without end
        const engine::Request request = request_of(tenant, id, 1000, 3);
        fake.submit(request);
        CHECK(steps_to_first_token(fake, id) <= 2);
      }
      CHECK(fake.core().stats().preemptions >= 1);
      fake.run();
      for (engine::RequestId id = 1; id <= 60; ++id) {
        engine::Request request = request_of("b", id, -1000, 30);
        CHECK(fake.heard(id).ids() == fake.true_ids(request));
      }
    }
  }
}

TEST_CASE("a long prompt in the background leaves rows to those that come", "[engine][priority]") {
  FakeEngine fake(with_places(4));
  engine::Request background = FakeEngine::request(1, 2000, 1);
  background.background = true;
  fake.submit(background);
  fake.step();
  fake.submit(FakeEngine::request(2, 1500, 1, 1));  // long itself
  CHECK(steps_to_first_token(fake, 2) <= 1500 / 64 + 3);
  CHECK(fake.heard(1).tokens.empty());
  fake.run();
  CHECK(fake.heard(1).ids() == fake.true_ids(background));
}

TEST_CASE("what a tenant ran in the background is not held against it", "[engine][priority]") {
  FakeEngine fake(with_places(1));
  engine::Request background = FakeEngine::request(1, 1000, 200);
  background.tenant = std::string("a");
  background.background = true;
  fake.submit(background);
  fake.run();
  fake.submit(request_of("c", 9, 0, 40));
  fake.step();
  fake.submit(request_of("a", 2, 0));
  fake.submit(request_of("b", 3, 0));
  steps_to_first_token(fake, 2);
  CHECK(fake.heard(3).tokens.empty());  // it came later
  fake.run();
}

}  // namespace coppice::testing
