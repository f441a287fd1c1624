// An engine's changes of its prefix cache, read by a strict reader: in a pool that is too small, with cancels, salts
// and forks; and a queue that is never read holds the engine up nowhere.
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <set>

#include "engine/cache_changes.h"
#include "tests/support/fake_engine.h"

namespace coppice::testing {
namespace {

using engine::CacheChange;
using engine::CacheChangeQueue;

engine::Limits small_pool() {
  engine::Limits limits = roomy_limits();
  limits.pages = 40;
  return limits;
}

// Reads what there is. REQUIRES of the engine: nothing is stored twice, removed when unknown, or hangs on nothing.
void read(CacheChangeQueue& queue, std::set<engine::BlockHash>& known) {
  for (const CacheChange& change : queue.take(std::chrono::milliseconds(0))) {
    if (change.kind == CacheChange::Kind::kCleared) {
      known.clear();
    } else if (change.kind == CacheChange::Kind::kRemoved) {
      for (const engine::BlockHash block : change.blocks) {
        REQUIRE(known.erase(block) == 1);
      }
    } else {
      REQUIRE((!change.parent || known.count(*change.parent) == 1));
      for (const engine::BlockHash block : change.blocks) {
        REQUIRE(known.insert(block).second);
      }
    }
  }
}

engine::Request request_of(engine::RequestId id) {
  const auto number = static_cast<std::int32_t>(id);
  engine::Request request = FakeEngine::request(id, 20 + number * 7 % 90, 1 + number % 20, number % 5);
  request.choices = number % 7 == 0 ? 3 : 1;
  request.tenant = number % 4 == 0 ? "|salt" : "";
  return request;
}

}  // namespace

TEST_CASE("who reads the changes knows what the cache of an engine holds", "[engine][cache_changes]") {
  for (const bool asynchronous : {false, true}) {
    engine::EngineOptions options;
    options.cache_changes = std::make_shared<CacheChangeQueue>();
    FakeEngine fake(small_pool(), options, nullptr, asynchronous);
    std::set<engine::BlockHash> known;
    for (engine::RequestId id = 1; id <= 200; ++id) {
      fake.submit(request_of(id));
      if (id % 3 == 0) {
        fake.step();
        fake.core().cancel(id, -1);
      }
      if (id % 2 == 0) {
        fake.run();
        read(*options.cache_changes, known);
        REQUIRE(static_cast<std::int32_t>(known.size()) == fake.core().scheduler().tree().pages());
      }
    }
    CHECK(known.size() > 20);
  }
}

TEST_CASE("changes that nothing reads hold the engine up nowhere, and are made good later", "[engine][cache_changes]") {
  engine::EngineOptions options;
  options.cache_changes = std::make_shared<CacheChangeQueue>();
  FakeEngine fake(small_pool(), options);
  for (engine::RequestId id = 1; id <= 100; ++id) {
    fake.submit(request_of(id));
    fake.run();
    CHECK(fake.heard(id).finished());
  }
  std::set<engine::BlockHash> known;
  read(*options.cache_changes, known);
  fake.submit(request_of(101));
  fake.run();
  read(*options.cache_changes, known);
  CHECK(static_cast<std::int32_t>(known.size()) == fake.core().scheduler().tree().pages());
}

}  // namespace coppice::testing
