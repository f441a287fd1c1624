// What the store keeps, for whom, how much of it and how long.
#include "server/stored/response_store.h"

#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace coppice::server {
namespace {

using std::chrono::seconds;

ResponseStoreLimits small_limits() {
  ResponseStoreLimits limits;
  limits.server_bytes = 30'000;
  limits.tenant_bytes = 20'000;
  limits.tenant_responses = 4;
  limits.time_to_live = seconds(10);
  return limits;
}

struct World {
  ResponseStore::Clock::time_point now{};
  ResponseStore store{small_limits(), [this] { return now; }};

  void put(const std::string& tenant, const std::string& id, std::size_t bytes = 10, TurnPointer previous = nullptr) {
    store.put(tenant, id, std::string(bytes, 'o'), "[1]", "[2]", std::move(previous));
  }
  TurnPointer turn(const std::string& tenant, const std::string& id) {
    const std::optional<ResponseStore::Found> found = store.find(tenant, id);
    return found ? found->turn : nullptr;
  }
  // A background response; `stopped` counts.
  openai::MaybeError begin(const std::string& id, int& stopped) {
    return store.begin("a", id, {"queued", "cancelled", "[1]", nullptr, [&stopped] { ++stopped; }});
  }
};

TEST_CASE("what was put is found by its tenant alone, and gone when it is erased") {
  World world;
  world.put("a", "r1");
  const std::optional<ResponseStore::Found> found = world.store.find("a", "r1");
  REQUIRE(found.has_value());
  CHECK(found->object == "oooooooooo");
  CHECK(found->turn->input == "[1]");
  CHECK(found->turn->output == "[2]");
  CHECK(found->turn->response_id == "r1");
  CHECK_FALSE(found->is_background);
  CHECK_FALSE(world.store.find("b", "r1").has_value());
  CHECK_FALSE(world.store.erase("b", "r1"));
  CHECK(world.store.bytes() > 0);
  CHECK(world.store.erase("a", "r1"));
  CHECK_FALSE(world.store.erase("a", "r1"));
  CHECK_FALSE(world.store.find("a", "r1").has_value());
  CHECK(world.store.bytes() > 0);  // found has its turn
}

TEST_CASE("the least recently used goes for the newest, by number and by bytes") {
  World world;
  for (const char* const id : {"r1", "r2", "r3", "r4"}) {
    world.put("a", id);
  }
  (void)world.turn("a", "r1");
  world.put("a", "r5");
  CHECK(world.store.responses() == 4);
  CHECK(world.turn("a", "r1") != nullptr);
  CHECK(world.turn("a", "r2") == nullptr);
  world.put("a", "large", 18'000);
  CHECK(world.store.responses() == 1);
  world.put("a", "larger", 21'000);  // more than a tenant's part: not kept, and nothing goes for it
  CHECK(world.turn("a", "larger") == nullptr);
  CHECK(world.turn("a", "large") != nullptr);
  CHECK(world.store.bytes() < 20'000);
}

TEST_CASE("a tenant's place is its own; for the server's bound the largest gives") {
  World world;
  world.put("a", "r1", 17'000);
  world.put("b", "r1", 6'000);
  CHECK(world.store.responses() == 2);
  world.put("b", "r2", 6'000);
  CHECK(world.turn("a", "r1") == nullptr);
  CHECK(world.turn("b", "r1") != nullptr);
  CHECK(world.turn("b", "r2") != nullptr);
  CHECK(world.store.bytes() <= 30'000);
}

TEST_CASE("memory is given back with the last that refers to it") {
  World world;
  world.put("a", "r1", 5'000);
  world.put("a", "r2", 5'000, world.turn("a", "r1"));
  CHECK(world.store.erase("a", "r1"));
  const std::size_t chained = world.store.bytes();
  TurnPointer held = world.turn("a", "r2");
  CHECK(held->previous->response_id == "r1");
  CHECK(world.store.erase("a", "r2"));
  CHECK(world.store.bytes() < chained);
  CHECK(world.store.bytes() > 0);
  held.reset();
  CHECK(world.store.bytes() == 0);
}

TEST_CASE("a conversation that outgrows its tenant's part is not kept on, and the bound holds") {
  World world;
  TurnPointer last;
  for (int i = 0; i < 50; ++i) {
    const std::string id = std::to_string(i);
    world.store.put("a", id, "{}", std::string(1'000, 'i'), "[]", last);
    CHECK(world.store.bytes() <= 20'000 + 2'000);
    last = world.turn("a", id);
    if (last == nullptr) {
      break;
    }
  }
  CHECK(last == nullptr);
}

TEST_CASE("a very long conversation is destroyed without deep recursion") {
  ResponseStoreLimits limits;
  ResponseStore store(limits);
  TurnPointer last;
  for (int i = 0; i < 100'000; ++i) {
    const std::string id = std::to_string(i);
    store.put("a", id, "{}", "[]", "[]", last);
    const std::optional<ResponseStore::Found> found = store.find("a", id);
    if (!found) {
      break;
    }
    last = found->turn;
  }
  last.reset();
  store.drop_tenants(std::array<std::string, 1>{"a"});
  CHECK(store.bytes() == 0);
}

TEST_CASE("what is not used for its time goes; use renews it") {
  World world;
  world.put("a", "r1");
  world.put("a", "r2");
  world.now += seconds(8);
  (void)world.turn("a", "r1");
  world.now += seconds(3);
  world.store.expire();
  CHECK(world.turn("a", "r2") == nullptr);
  CHECK(world.turn("a", "r1") != nullptr);
  world.now += seconds(11);
  world.store.expire();
  CHECK(world.store.responses() == 0);
  CHECK(world.store.bytes() == 0);
}

TEST_CASE("a background response from its beginning to its end") {
  World world;
  int stopped = 0;
  REQUIRE_FALSE(world.begin("r1", stopped).has_value());
  CHECK(world.store.find("a", "r1")->object == "queued");
  CHECK(world.store.find("a", "r1")->is_running);
  CHECK(world.turn("a", "r1") == nullptr);
  world.store.update("a", "r1", "in progress");
  CHECK(world.store.find("a", "r1")->object == "in progress");
  world.store.end("a", "r1", "done", "[9]");
  CHECK(world.store.find("a", "r1")->object == "done");
  CHECK(world.store.find("a", "r1")->is_background);
  CHECK_FALSE(world.store.find("a", "r1")->is_running);
  CHECK(world.turn("a", "r1")->output == "[9]");
  CHECK(world.turn("a", "r1")->input == "[1]");
  CHECK(world.store.cancel("a", "r1")->object == "done");  // too late
  world.store.end("a", "r1", "again", std::nullopt);
  CHECK(world.store.find("a", "r1")->object == "done");
  CHECK(stopped == 0);
}

TEST_CASE("cancelled, deleted, or its key gone: the run is stopped once and its end is not kept") {
  World world;
  std::array<int, 3> stopped{};
  REQUIRE_FALSE(world.begin("r0", stopped[0]).has_value());
  REQUIRE_FALSE(world.begin("r1", stopped[1]).has_value());
  REQUIRE_FALSE(world.begin("r2", stopped[2]).has_value());
  CHECK(world.store.cancel("a", "r0")->object == "cancelled");
  CHECK(world.store.cancel("a", "r0")->object == "cancelled");
  CHECK_FALSE(world.store.cancel("b", "r0").has_value());
  CHECK(world.store.erase("a", "r1"));
  world.store.drop_tenants(std::array<std::string, 2>{"a", "none"});
  CHECK(stopped == std::array<int, 3>{1, 1, 1});
  world.store.end("a", "r0", "done", "[9]");
  CHECK(world.store.responses() == 0);
  CHECK(world.store.bytes() == 0);
}

TEST_CASE("what runs is never dropped; when it fills the tenant's part, more is refused") {
  World world;
  int stopped = 0;
  world.put("a", "old");
  for (const char* const id : {"r1", "r2", "r3", "r4"}) {
    REQUIRE_FALSE(world.begin(id, stopped).has_value());
  }
  const openai::MaybeError error = world.begin("r5", stopped);
  REQUIRE(error.has_value());
  CHECK(error->status == 429);
  CHECK(error->code == "response_store_full");
  CHECK(world.turn("a", "old") == nullptr);
  CHECK(world.store.responses() == 4);
  world.put("a", "new");  // not kept
  CHECK(world.store.responses() == 4);
  world.now += seconds(100);
  world.store.expire();
  CHECK(world.store.responses() == 4);
  world.store.end("a", "r1", "done", "[]");
  CHECK_FALSE(world.begin("r5", stopped).has_value());
  CHECK(world.store.responses() == 4);
  CHECK(stopped == 0);
}

TEST_CASE("many threads") {
  ResponseStoreLimits limits = small_limits();
  ResponseStore store(limits);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&store, t] {
      const std::string tenant = t % 2 == 0 ? "a" : "b";
      TurnPointer last;
      for (int i = 0; i < 2000; ++i) {
        const std::string id = std::to_string(t) + "-" + std::to_string(i);
        store.put(tenant, id, std::string(100, 'o'), "[]", "[]", i % 7 == 0 ? nullptr : last);
        const std::optional<ResponseStore::Found> found = store.find(tenant, id);
        last = found ? found->turn : nullptr;
        if (i % 5 == 0) {
          store.erase(tenant, id);
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  store.drop_tenants(std::array<std::string, 2>{"a", "b"});
  CHECK(store.bytes() == 0);
}

}  // namespace
}  // namespace coppice::server
