// Who waits for whom: tenants against a crowd, short prompts against long ones, decoding against prompts. Every bound
// here is one that engine/README.md states. Answers are compared with the oracle's throughout.
#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <utility>

#include "base/random.h"
#include "tests/support/fake_engine.h"

namespace coppice::testing {
namespace {

engine::Limits crowded_limits() {
  engine::Limits limits = roomy_limits();
  limits.pages = 400;
  limits.model_tokens_max = 400 * 16;
  limits.step_tokens_max = 48;
  limits.step_logits_max = 48;
  limits.chunk_tokens_max = 48;
  limits.running_max = 12;
  limits.queued_max = 4096;
  return limits;
}

std::int32_t random_between(std::uint64_t draw, std::int32_t low, std::int32_t high) {
  return low + static_cast<std::int32_t>(base::philox4x32(7, draw, 0xfa13)[0] % static_cast<std::uint32_t>(high - low));
}

// Steps from arrival to the first token that a request of `prompt` tokens may take while others want all they can get:
// patience for a place, as long again if all places have just changed hands, then its prompt by the rows kept for
// newcomers.
std::int32_t wait_bound(const engine::Limits& limits, std::int32_t prompt) {
  const std::int32_t rows = (limits.step_tokens_max - limits.running_max) / engine::kNewcomersIn;
  return 2 * static_cast<std::int32_t>(engine::kPatienceSteps) + (prompt + rows - 1) / rows + 1;
}

engine::Request request_of(const std::string& tenant, engine::RequestId id, std::int32_t prompt, std::int32_t output) {
  engine::Request request = FakeEngine::request(id, prompt, output, static_cast<std::int32_t>(id % 97));
  request.tenant = tenant;
  return request;
}

// Steps more on a device that works by itself: the one under way when the request comes, and the one beside which its
// token is told.
std::int32_t late(bool asynchronous) {
  return asynchronous ? 2 : 0;
}

// Steps until request `id` has its first token.
std::int32_t steps_to_first_token(FakeEngine& fake, engine::RequestId id) {
  std::int32_t steps = 0;
  while (fake.heard(id).tokens.empty()) {
    REQUIRE(fake.step());
    ++steps;
    REQUIRE(steps < 10000);
  }
  return steps;
}

}  // namespace

TEST_CASE("a tenant's crowd of 500 does not keep another tenant's single requests waiting", "[sim][fairness]") {
  const engine::Limits limits = crowded_limits();
  // busy: places come free often, or hardly ever.
  for (const auto& [busy, asynchronous] : {std::pair(true, false), {false, false}, {true, true}, {false, true}}) {
    FakeEngine fake(limits, {}, nullptr, asynchronous);
    std::vector<engine::Request> all;
    for (engine::RequestId id = 1; id <= 500; ++id) {
      all.push_back(
          request_of("crowd", id, random_between(id, 20, 200), busy ? random_between(id + 1000, 30, 90) : 300));
      REQUIRE(fake.submit(all.back()));
    }
    std::int32_t worst = 0;
    for (engine::RequestId id = 1001; id <= 1030; ++id) {
      const std::int32_t prompt = random_between(id, 5, 100);
      all.push_back(request_of("single", id, prompt, 5));
      REQUIRE(fake.submit(all.back()));
      const std::int32_t waited = steps_to_first_token(fake, id);
      INFO("prompt " << prompt);
      CHECK(waited <= wait_bound(limits, prompt) + late(asynchronous));
      worst = std::max(worst, waited);
      for (int i = 0; i < 30; ++i) {  // the place it leaves goes to the crowd
        fake.step();
      }
      REQUIRE(fake.core().scheduler().waiting() > 100);  // the crowd is still there
    }
    WARN("the longest wait was " << worst << " steps");
    if (busy) {  // answers, where that does not take long
      fake.run();
      for (const engine::Request& request : all) {
        REQUIRE(fake.heard(request.id).ids() == fake.true_ids(request));
      }
    }
  }
}

TEST_CASE("two tenants with more than they can get are given the same, whatever their requests look like",
          "[sim][fairness]") {
  const engine::Limits limits = crowded_limits();
  FakeEngine fake(limits);
  for (engine::RequestId id = 1; id <= 300; ++id) {
    fake.submit(request_of("long", id, 300, 100));
  }
  for (engine::RequestId id = 1001; id <= 3000; ++id) {
    fake.submit(request_of("short", id, 20, 10));
  }
  fake.step();
  const engine::Tenants& tenants = fake.core().scheduler().tenants();
  REQUIRE(tenants.active().size() == 2);
  const auto served = [&](std::size_t index) {
    return static_cast<std::int64_t>(tenants[tenants.active()[index]].served);
  };
  // As in the paper: the counters differ by no more than what one tenant's running requests may still be given.
  const std::int64_t bound = std::int64_t{limits.running_max} * (300 * engine::kInputCost + 100 * engine::kOutputCost);
  std::int64_t worst = 0;
  for (int step = 0; step < 2000; ++step) {
    fake.step();
    worst = std::max(worst, std::abs(served(0) - served(1)));
  }
  CHECK(served(0) > 20 * worst);
  CHECK(worst <= bound);
}

TEST_CASE("ever new tenants cannot keep an old one's large requests out", "[sim][fairness]") {
  engine::Limits limits = crowded_limits();
  limits.running_max = 4;
  limits.pages = 16;
  limits.model_tokens_max = 16 * 16;
  FakeEngine fake(limits);
  constexpr engine::RequestId kOld = 20;
  for (engine::RequestId id = 1; id <= kOld; ++id) {
    fake.submit(request_of("old", id, 180, 5));  // 12 of the 16 pages, and one of growth for each that runs
  }
  engine::RequestId next = 1001;
  int since_end = 0;
  for (engine::RequestId id = 1; id <= kOld;) {
    for (int i = 0; i < 2; ++i) {
      const engine::RequestId salt = next++;
      fake.submit(request_of("salt " + std::to_string(salt), salt, 40, 5));
    }
    fake.step();
    // Patience; those that run end (4 prompts of 40 by 44 rows, 5 tokens each); then it runs: 180 rows, 5 tokens.
    REQUIRE(++since_end <= static_cast<int>(engine::kPatienceSteps) + 10 + 10);
    if (fake.heard(id).finished()) {
      ++id;
      since_end = 0;
    }
  }
}

TEST_CASE("a short prompt does not wait for a long one, which keeps half of the rows", "[sim][fairness]") {
  const engine::Limits limits = crowded_limits();
  for (const auto& [tenant, asynchronous] :
       {std::pair(std::string(), false), {"another", false}, {"", true}, {"another", true}}) {
    FakeEngine fake(limits, {}, nullptr, asynchronous);
    const engine::Request longest = request_of("", 1, 3000, 4);
    fake.submit(longest);
    fake.step();
    std::int32_t steps = 1;
    for (engine::RequestId id = 2; fake.heard(1).tokens.empty(); ++id) {
      const std::int32_t prompt = random_between(id, 5, 100);
      const engine::Request request = request_of(tenant, id, prompt, 3);
      fake.submit(request);
      const std::int32_t waited = steps_to_first_token(fake, id);
      steps += waited;
      if (fake.heard(1).tokens.empty()) {
        INFO("prompt " << prompt);
        // No other tenant needs a place, so there is no patience to pay for.
        CHECK(waited <=
              wait_bound(limits, prompt) - 2 * static_cast<std::int32_t>(engine::kPatienceSteps) + late(asynchronous));
      }
    }
    CHECK(steps <= 3000 / ((limits.step_tokens_max - limits.running_max) / 2) + 10);
    fake.run();
    CHECK(fake.heard(1).ids() == fake.true_ids(longest));
  }
}

TEST_CASE("who decodes has a token in every step, whatever prompts arrive", "[sim][fairness]") {
  const engine::Limits limits = crowded_limits();
  for (const bool asynchronous : {false, true}) {
    FakeEngine fake(limits, {}, nullptr, asynchronous);
    const engine::Request decoding = request_of("a", 1, 10, 400);
    fake.submit(decoding);
    for (int i = 0; i < (asynchronous ? 2 : 1); ++i) {
      fake.step();
    }
    for (std::size_t tokens = 2; tokens <= 300; ++tokens) {
      const engine::RequestId id = 1 + tokens;
      fake.submit(request_of(tokens % 3 == 0 ? "b" : "a", id, random_between(id, 10, 600), 20));
      fake.step();
      REQUIRE(fake.heard(1).tokens.size() == tokens);
    }
  }
}

}  // namespace coppice::testing
