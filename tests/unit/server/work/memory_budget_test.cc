// The three bounds, what is free, and that everything is given back.
#include "server/work/memory_budget.h"

#include <catch2/catch.hpp>
#include <memory>

namespace coppice::server {
namespace {

constexpr std::size_t kFree = MemoryBudget::kFreeBytes;

MemoryLimits limits() {
  MemoryLimits limits;
  limits.request_bytes = kFree + 100;
  limits.tenant_bytes = 150;
  limits.server_bytes = 200;
  return limits;
}

int status(const openai::MaybeError& error) {
  return error ? error->status : 200;
}

TEST_CASE("a request's parts together have a bound; a part that does not fit stays as it was") {
  MemoryBudget budget(limits());
  MemoryBudget::Lease lease(budget);
  CHECK(status(lease.set(MemoryPart::kBody, kFree)) == 200);
  CHECK(budget.used() == 0);
  CHECK(status(lease.set(MemoryPart::kWork, 60)) == 200);
  CHECK(status(lease.set(MemoryPart::kOutput, 41)) == 413);
  CHECK(budget.used() == 60);
  CHECK(status(lease.set(MemoryPart::kOutput, 40)) == 200);
  CHECK(budget.used() == 100);
  CHECK(status(lease.set(MemoryPart::kBody, 0)) == 200);
  CHECK(budget.used() == 0);
}

TEST_CASE("a tenant's requests together have a bound, and so have those of all; both say 429") {
  MemoryBudget budget(limits());
  auto first = std::make_unique<MemoryBudget::Lease>(budget);
  first->set_tenant("a");
  REQUIRE(status(first->set(MemoryPart::kBody, kFree + 100)) == 200);
  MemoryBudget::Lease second(budget);
  second.set_tenant("a");
  CHECK(status(second.set(MemoryPart::kBody, kFree)) == 200);
  const openai::MaybeError refused = second.set(MemoryPart::kWork, 51);
  REQUIRE(status(refused) == 429);
  CHECK(refused->code == "memory_full");
  CHECK(refused->retry_after_s > 0);
  CHECK_THAT(refused->message, Catch::Contains("--memory-per-tenant"));
  CHECK(status(second.set(MemoryPart::kWork, 50)) == 200);
  MemoryBudget::Lease other(budget);
  other.set_tenant("b");
  const openai::MaybeError server_full = other.set(MemoryPart::kBody, kFree + 51);
  REQUIRE(status(server_full) == 429);
  CHECK_THAT(server_full->message, Catch::Contains("--memory-of-requests"));
  CHECK(status(other.set(MemoryPart::kBody, kFree + 50)) == 200);
  first.reset();
  CHECK(budget.used() == 100);
  CHECK(status(other.set(MemoryPart::kBody, kFree + 100)) == 200);
}

TEST_CASE("bodies on their way may take half; whole ones, and all else, the rest") {
  MemoryLimits wide = limits();
  wide.request_bytes = kFree + 1000;
  MemoryBudget budget(wide);  // 150 a tenant, 200 in all
  MemoryBudget::Lease slow(budget);
  slow.set_tenant("a");
  REQUIRE(status(slow.receive(kFree + 75)) == 200);
  CHECK(status(slow.receive(kFree + 76)) == 429);
  MemoryBudget::Lease second(budget);
  second.set_tenant("a");
  CHECK(status(second.receive(kFree + 1)) == 429);
  MemoryBudget::Lease other(budget);
  other.set_tenant("b");
  CHECK(status(other.receive(kFree + 26)) == 429);  // 100 of all
  CHECK(status(other.receive(kFree + 25)) == 200);
  MemoryBudget::Lease whole(budget);
  whole.set_tenant("a");
  CHECK(status(whole.set(MemoryPart::kWork, kFree + 75)) == 200);
  CHECK(status(whole.set(MemoryPart::kWork, kFree + 76)) == 429);
  CHECK(status(whole.set(MemoryPart::kWork, 0)) == 200);
  slow.received();
  CHECK(status(second.receive(kFree + 75)) == 200);
  CHECK(budget.used() == 75 + 75 + 25);
}

TEST_CASE("what all of a tenant's memory would not hold is refused for good") {
  MemoryLimits wide = limits();
  wide.request_bytes = kFree + 1000;
  MemoryBudget budget(wide);
  MemoryBudget::Lease lease(budget);
  CHECK(status(lease.set(MemoryPart::kWork, kFree + 150)) == 200);
  CHECK(status(lease.set(MemoryPart::kWork, kFree + 151)) == 413);
}

TEST_CASE("a body on its way counts for its tenant from when that is known") {
  MemoryBudget budget(limits());
  {
    MemoryBudget::Lease lease(budget);
    REQUIRE(status(lease.receive(kFree + 60)) == 200);
    lease.set_tenant("a");
    MemoryBudget::Lease second(budget);
    second.set_tenant("a");
    CHECK(status(second.receive(kFree + 20)) == 429);
    CHECK(status(second.receive(kFree + 15)) == 200);
  }
  CHECK(budget.used() == 0);
  MemoryBudget::Lease third(budget);
  third.set_tenant("a");
  CHECK(status(third.receive(kFree + 75)) == 200);
}

TEST_CASE("what a request holds moves to its tenant when that is known") {
  MemoryBudget budget(limits());
  MemoryBudget::Lease lease(budget);
  REQUIRE(status(lease.set(MemoryPart::kBody, kFree + 100)) == 200);
  lease.set_tenant("a");
  MemoryBudget::Lease unknown(budget);
  CHECK(status(unknown.set(MemoryPart::kBody, kFree + 100)) == 200);
  CHECK(budget.used() == 200);
}

}  // namespace
}  // namespace coppice::server
