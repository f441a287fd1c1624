// The counters of what tenants were given.
#include "engine/lines.h"

#include <catch2/catch.hpp>
#include <string>

namespace coppice::engine {

TEST_CASE("a tenant that comes back starts no lower than those who stayed", "[tenants]") {
  Tenants tenants;
  const std::int32_t busy = tenants.enter("busy");
  const std::int32_t idle = tenants.enter("idle");
  tenants.charge(busy, 1000);
  tenants.charge(idle, 10);
  tenants.leave(idle);
  const std::int32_t newcomer = tenants.enter("new");
  CHECK(tenants[newcomer].served == 1000);
  CHECK(tenants[tenants.enter("idle")].served == 1000);
}

TEST_CASE("leaving and coming back does not wipe out what a tenant was given", "[tenants]") {
  Tenants tenants;
  const std::int32_t modest = tenants.enter("modest");
  const std::int32_t greedy = tenants.enter("greedy");
  tenants.charge(greedy, 5000);
  tenants.charge(modest, 7);
  tenants.leave(greedy);
  CHECK(tenants.remembered() == 1);
  CHECK(tenants[tenants.enter("greedy")].served == 5000);
  CHECK(tenants.remembered() == 0);
}

TEST_CASE("when all have left, no tenant owes more than the last", "[tenants]") {
  Tenants tenants;
  const std::int32_t early = tenants.enter("early");
  const std::int32_t late = tenants.enter("late");
  tenants.charge(early, 300);
  tenants.charge(late, 500);
  tenants.leave(early);
  tenants.leave(late);
  CHECK(tenants.remembered() == 0);
  CHECK(tenants[tenants.enter("another")].served == 500);
  CHECK(tenants[tenants.enter("early")].served == 500);
}

TEST_CASE("the memory of those who left is bounded, and the least is forgotten first", "[tenants]") {
  Tenants tenants;
  tenants.enter("stays");  // holds the floor at 0
  for (std::int32_t i = 0; i < Tenants::kRememberedMax + 100; ++i) {
    const std::int32_t tenant = tenants.enter(std::to_string(i));
    tenants.charge(tenant, static_cast<std::uint64_t>(i) + 1);
    tenants.leave(tenant);
  }
  CHECK(tenants.remembered() == Tenants::kRememberedMax);
  CHECK(tenants.active().size() == 1);
  CHECK(tenants[tenants.enter("99")].served == 0);
  CHECK(tenants[tenants.enter("100")].served == 101);
}

TEST_CASE("a tenant lives as long as any of its sequences", "[tenants]") {
  Tenants tenants;
  const std::int32_t tenant = tenants.enter("a");
  CHECK(tenants.enter("a") == tenant);
  CHECK(tenants[tenant].live == 2);
  tenants.leave(tenant);
  CHECK(tenants.active().size() == 1);
  tenants.leave(tenant);
  CHECK(tenants.active().empty());
}

}  // namespace coppice::engine
