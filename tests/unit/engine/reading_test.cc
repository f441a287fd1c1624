// Requests that read instead of generating: what their branches have in common is computed once, what is read is the
// oracle's, and such a request is one thing, however many branches it has.
#include <catch2/catch.hpp>

#include "tests/support/fake_engine.h"
#include "tests/support/reading_requests.h"

namespace coppice::testing {

using engine::FinishReason;
using engine::Reading;

TEST_CASE("what branches have in common is computed once, cold, with the prefix cache on and off",
          "[engine][reading]") {
  for (const bool prefix_cache : {true, false}) {
    engine::EngineOptions options;
    options.prefix_cache = prefix_cache;
    FakeEngine fake(roomy_limits(), options);
    const engine::Request request = reading_request(1, Reading::kLabels, 150, 40, 50);
    std::uint64_t behind = 0;
    for (const engine::Branch& branch : request.branches) {
      behind += branch.tokens.size();
    }
    REQUIRE(fake.submit(request));
    fake.run();
    for (std::size_t i = 0; i < request.branches.size(); ++i) {
      const Heard& heard = fake.heard(1, static_cast<std::int32_t>(i));
      CHECK(heard.last.finish == FinishReason::kLength);
      CHECK(heard.last.reading == direct_reading(request, i, fake.model()).reading);
      CHECK(heard.last.usage.cached_tokens == 0);
      CHECK(heard.last.usage.completion_tokens == 0);
      CHECK(heard.tokens.empty());
    }
    // With the cache, a page that also holds a branch's own tokens is the cache's: its beginning is computed again.
    const std::uint64_t again = prefix_cache ? (150 % 16) * 40 : 0;
    CHECK(fake.core().stats().prompt_tokens_computed >= 150 + behind);
    CHECK(fake.core().stats().prompt_tokens_computed <= 150 + behind + again);
    CHECK(fake.core().stats().drafts.tokens == 0);
  }
}

TEST_CASE("a reading request that was served before finds its prompt in the cache", "[engine][reading]") {
  FakeEngine fake;
  fake.submit(reading_request(1, Reading::kLabels, 100, 5, 50));
  fake.run();
  const std::uint64_t cold = fake.core().stats().prompt_tokens_computed;
  const engine::Request again = reading_request(2, Reading::kLabels, 100, 5, 50);
  fake.submit(again);
  fake.run();
  CHECK(fake.heard(2, 0).last.usage.cached_tokens == 96);
  CHECK(fake.core().stats().prompt_tokens_computed - cold < cold / 2);
  for (std::size_t i = 0; i < again.branches.size(); ++i) {
    CHECK(fake.heard(2, static_cast<std::int32_t>(i)).last.reading == direct_reading(again, i, fake.model()).reading);
  }
  // A mean needs every hidden state, so it reads no cache.
  engine::Request mean = reading_request(3, Reading::kMeanHidden, 0, 1, 50);
  mean.branches[0].tokens = again.prompt;
  fake.submit(mean);
  fake.run();
  CHECK(fake.heard(3).last.usage.cached_tokens == 0);
  CHECK(fake.heard(3).last.reading == direct_reading(mean, 0, fake.model()).reading);
}

TEST_CASE("branches without a common prompt do not wait for one another", "[engine][reading]") {
  FakeEngine fake;
  const engine::Request request = reading_request(1, Reading::kLastHidden, 0, 6, 50);
  fake.submit(request);
  CHECK(fake.run() <= 3);  // 64 rows a step
  for (std::size_t i = 0; i < request.branches.size(); ++i) {
    CHECK(fake.heard(1, static_cast<std::int32_t>(i)).last.reading == direct_reading(request, i, fake.model()).reading);
  }
}

TEST_CASE("a reading request takes one place in the waiting room and is cancelled as one", "[engine][reading]") {
  engine::Limits limits = roomy_limits();
  limits.queued_max = 1;
  FakeEngine fake(limits);
  CHECK(fake.submit(reading_request(1, Reading::kLabels, 200, 30, 50)));
  CHECK_FALSE(fake.submit(reading_request(2, Reading::kLabels, 10, 1, 50)));
  fake.step();
  fake.core().cancel(1, -1);
  fake.run();
  for (std::int32_t choice = 0; choice < 30; ++choice) {
    CHECK(fake.heard(1, choice).finishes == 1);
    CHECK(fake.heard(1, choice).last.finish == FinishReason::kCancelled);
    CHECK(fake.heard(1, choice).last.reading.empty());
  }
  CHECK(fake.core().stats().running == 0);
}

}  // namespace coppice::testing
