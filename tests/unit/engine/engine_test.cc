// Single behaviours of the engine on the truth oracle.
#include <catch2/catch.hpp>
#include <chrono>

#include "tests/support/fake_engine.h"

namespace coppice::testing {

using engine::FinishReason;

TEST_CASE("a request is answered and the engine is idle again", "[engine]") {
  FakeEngine fake;
  const engine::Request request = FakeEngine::request(1, 100, 10);
  CHECK_FALSE(fake.step());
  REQUIRE(fake.submit(request));
  CHECK(fake.run() == 2 + 9);  // 64 and 36 rows of prompt, then a token a step
  CHECK(fake.heard(1).ids() == fake.true_ids(request));
  CHECK(fake.heard(1).last.finish == FinishReason::kLength);
  CHECK(fake.heard(1).last.usage.prompt_tokens == 100);
  CHECK(fake.heard(1).last.usage.completion_tokens == 10);
  CHECK(fake.heard(1).last.usage.cached_tokens == 0);
  CHECK(fake.core().stats().pages.cached == 6);  // 109 tokens are computed: 6 whole pages stay
}

TEST_CASE("where a step works behind the engine's back, events go out while the next one runs", "[engine]") {
  FakeEngine fake(roomy_limits(), {}, nullptr, true);
  const engine::Request request = FakeEngine::request(1, 20, 4);
  fake.submit(request);
  fake.step();
  CHECK(fake.heard(1).tokens.empty());
  fake.step();
  CHECK(fake.heard(1).tokens.size() == 1);
  fake.step();
  CHECK(fake.heard(1).tokens.size() == 2);
  fake.step();  // the last: nothing follows to hide behind
  CHECK(fake.heard(1).ids() == fake.true_ids(request));
  CHECK(fake.heard(1).finishes == 1);
  fake.submit(FakeEngine::request(2, 20, 4));
  fake.submit(FakeEngine::request(3, 20, 40));
  fake.step();
  fake.core().cancel(3, 0);
  fake.core().cancel(2, 0);
  fake.step();  // no step runs at all
  CHECK(fake.heard(2).tokens.size() == 1);
  CHECK(fake.heard(2).last.finish == FinishReason::kCancelled);
  CHECK(fake.heard(3).finishes == 1);
  CHECK_FALSE(fake.step());
}

TEST_CASE("a prompt that was computed before is not computed again", "[engine]") {
  FakeEngine fake;
  fake.submit(FakeEngine::request(1, 100, 1));
  fake.run();
  fake.submit(FakeEngine::request(2, 100, 5));
  fake.run();
  CHECK(fake.heard(2).last.usage.cached_tokens == 96);
  CHECK(fake.core().stats().prompt_tokens_computed == 104);
  CHECK(fake.core().stats().prefix_hits == 96);
  engine::Request whole_pages = FakeEngine::request(3, 96, 5);
  fake.submit(whole_pages);
  fake.run();
  CHECK(fake.heard(3).last.usage.cached_tokens == 80);  // the last token is always computed, with its page
  CHECK(fake.heard(3).ids() == fake.true_ids(whole_pages));
  engine::Request other_tenant = FakeEngine::request(4, 100, 5);
  other_tenant.tenant = "another";
  fake.submit(other_tenant);
  fake.run();
  CHECK(fake.heard(4).last.usage.cached_tokens == 0);
}

TEST_CASE("sixteen requests with one long prefix compute it once", "[engine][dedupe]") {
  engine::Limits limits = roomy_limits();
  limits.pages = 512;
  limits.model_tokens_max = 4096;
  limits.step_tokens_max = 256;
  limits.chunk_tokens_max = 64;  // rows are left for the others, who must not use them for the same pages
  for (const bool asynchronous : {false, true}) {
    FakeEngine fake(limits, {}, nullptr, asynchronous);
    for (engine::RequestId id = 1; id <= 16; ++id) {
      engine::Request request = FakeEngine::request(id, 2000, 8);
      for (std::int32_t i = 0; i < 50; ++i) {
        request.prompt.push_back((static_cast<std::int32_t>(id) * 3 + i) % 50);
      }
      fake.submit(request);
    }
    fake.run();
    CHECK(fake.core().stats().prompt_tokens_computed == 2000 + 16 * 50);
    for (engine::RequestId id = 1; id <= 16; ++id) {
      CHECK(fake.heard(id).finished());
    }
    CHECK(fake.core().stats().prompt_tokens == 16 * 2050);
  }
}

TEST_CASE("choices fork from one prompt, and choice 0 is the answer of n = 1", "[engine][fork]") {
  for (const std::int32_t prompt_count : {1, 15, 16, 17, 31, 32, 33, 100}) {
    for (const auto& [prefix_cache, asynchronous] :
         {std::pair(false, false), {true, false}, {false, true}, {true, true}}) {
      INFO("prompt " << prompt_count << " cache " << prefix_cache << " asynchronous " << asynchronous);
      engine::EngineOptions options;
      options.prefix_cache = prefix_cache;
      FakeEngine fake(roomy_limits(), options, nullptr, asynchronous);
      engine::Request request = FakeEngine::request(1, prompt_count, 40);
      request.sampling.temperature = 1;
      request.choices = 5;
      fake.submit(request);
      fake.run();
      for (std::int32_t choice = 0; choice < 5; ++choice) {
        CHECK(fake.heard(1, choice).ids() == fake.true_ids(request, choice));
        CHECK(fake.heard(1, choice).finishes == 1);
      }
      // A fork computes the last prompt token again, or, where the cache holds that token's page, the whole page.
      const std::int32_t again = prefix_cache && prompt_count % 16 == 0 ? 16 : 1;
      CHECK(fake.core().stats().prompt_tokens_computed == static_cast<std::uint64_t>(prompt_count + 4 * again));
    }
  }
}

TEST_CASE("when the choice that computes the prompt is cancelled another one takes over", "[engine][fork]") {
  FakeEngine fake;
  engine::Request request = FakeEngine::request(1, 150, 10);
  request.choices = 3;
  fake.submit(request);
  fake.step();
  fake.core().cancel(1, 0);
  fake.run();
  CHECK(fake.heard(1, 0).last.finish == FinishReason::kCancelled);
  CHECK(fake.heard(1, 1).ids() == fake.true_ids(request, 1));
  CHECK(fake.heard(1, 2).ids() == fake.true_ids(request, 2));
}

TEST_CASE("a cancelled request is gone within one step", "[engine]") {
  FakeEngine fake;
  fake.submit(FakeEngine::request(1, 20, 1000));
  fake.submit(FakeEngine::request(2, 20, 5, 1));
  fake.step();
  fake.core().cancel(1, -1);
  fake.core().cancel(77, -1);  // unknown: ignored
  fake.core().cancel(2, 5);    // no such choice: ignored
  fake.step();
  CHECK(fake.heard(1).last.finish == FinishReason::kCancelled);
  CHECK(fake.heard(1).last.usage.completion_tokens == 1);
  CHECK(fake.core().stats().running == 1);
  fake.run();
  CHECK(fake.heard(2).last.finish == FinishReason::kLength);
  CHECK(fake.heard(1).finishes == 1);
}

TEST_CASE("a request past its deadline ends, waiting or running", "[engine]") {
  engine::Limits limits = roomy_limits();
  limits.running_max = 1;
  FakeEngine fake(limits);
  engine::Request first = FakeEngine::request(1, 20, 1000);
  engine::Request second = FakeEngine::request(2, 20, 1000, 1);
  first.deadline = fake.now + std::chrono::seconds(2);
  second.deadline = fake.now + std::chrono::seconds(1);
  fake.submit(first);
  fake.submit(second);
  fake.step();
  fake.now += std::chrono::seconds(1);
  fake.step();
  CHECK(fake.heard(2).last.finish == FinishReason::kDeadline);
  CHECK_FALSE(fake.heard(1).finished());
  fake.now += std::chrono::seconds(1);
  fake.step();
  CHECK(fake.heard(1).last.finish == FinishReason::kDeadline);
  CHECK_FALSE(fake.step());
}

TEST_CASE("what can never run is refused with a reason and harms no other request", "[engine]") {
  FakeEngine fake;
  engine::Request request = FakeEngine::request(1, 2048, 1);
  request.choices = 3;
  fake.submit(request);
  engine::Request good = FakeEngine::request(2, 10, 3);
  fake.submit(good);
  fake.submit(FakeEngine::request(2, 10, 3));  // an id that lives
  fake.step();
  CHECK(fake.heard(1).last.finish == FinishReason::kError);
  CHECK(fake.heard(1).last.fault == engine::Fault::kRequest);
  CHECK(fake.heard(1).last.error.find("2048 tokens") != std::string::npos);
  CHECK(fake.heard(1, 2).last.fault == engine::Fault::kRequest);  // every choice hears of it
  CHECK(fake.heard(2).last.error == "the request id is in use");
  fake.run();
  CHECK(fake.heard(2).ids() == fake.true_ids(good));
}

TEST_CASE("the waiting room has a size, and running requests do not count", "[engine]") {
  engine::Limits limits = roomy_limits();
  limits.queued_max = 3;
  limits.running_max = 2;
  FakeEngine fake(limits);
  for (engine::RequestId id = 1; id <= 3; ++id) {
    CHECK(fake.submit(FakeEngine::request(id, 4, 20)));
  }
  CHECK_FALSE(fake.submit(FakeEngine::request(4, 4, 20)));
  fake.step();
  CHECK(fake.submit(FakeEngine::request(5, 4, 20)));
  CHECK(fake.submit(FakeEngine::request(6, 4, 20)));
  CHECK_FALSE(fake.submit(FakeEngine::request(7, 4, 20)));
  fake.core().cancel(5, -1);
  fake.step();
  CHECK(fake.submit(FakeEngine::request(8, 4, 20)));
  fake.run();
  CHECK(fake.submit(FakeEngine::request(9, 4, 20)));
}

TEST_CASE("only the prompt's logprobs: max_tokens 0", "[engine]") {
  FakeEngine fake;
  engine::Request request = FakeEngine::request(1, 90, 0);
  request.sampling.prompt_logprobs = 2;
  fake.submit(request);
  fake.run();
  CHECK(fake.heard(1).tokens.empty());
  CHECK(fake.heard(1).last.finish == FinishReason::kLength);
  const Answer truth = fake.truth(request);
  REQUIRE(fake.heard(1).prompt.size() == 89);
  for (std::size_t i = 0; i < 89; ++i) {
    CHECK(fake.heard(1).prompt[i].token == request.prompt[i + 1]);
    CHECK(fake.heard(1).prompt[i].logprob == truth.prompt[i].logprob);
    CHECK(fake.heard(1).prompt[i].top.size() == 2);
  }
}

TEST_CASE("a long prompt does not delay those who decode", "[engine][fairness]") {
  FakeEngine fake;
  engine::Request decoding = FakeEngine::request(1, 10, 60);
  fake.submit(decoding);
  fake.step();
  fake.submit(FakeEngine::request(2, 1500, 4, 3));
  for (std::size_t tokens = 2; tokens <= 20; ++tokens) {
    fake.step();
    REQUIRE(fake.heard(1).tokens.size() == tokens);  // a token in every step
  }
  fake.run();
  CHECK(fake.heard(1).ids() == fake.true_ids(decoding));
}

TEST_CASE("a request of better priority takes the place of the last one", "[engine][priority]") {
  engine::Limits limits = roomy_limits();
  limits.running_max = 2;
  limits.priority_across_tenants = true;
  FakeEngine fake(limits);
  engine::Request low = FakeEngine::request(1, 10, 200);
  low.priority = 5;
  engine::Request lower = FakeEngine::request(2, 10, 200, 1);
  lower.priority = 6;
  engine::Request urgent = FakeEngine::request(3, 10, 5, 2);
  fake.submit(low);
  fake.submit(lower);
  fake.step();
  fake.submit(urgent);
  fake.step();
  CHECK(fake.heard(3).tokens.size() == 1);
  CHECK(fake.heard(2).tokens.size() == 1);
  CHECK(fake.core().stats().preemptions == 1);
  fake.run();
  CHECK(fake.heard(1).ids() == fake.true_ids(low));
  CHECK(fake.heard(2).ids() == fake.true_ids(lower));
}

TEST_CASE("when pages run out the last to come waits, and its answer is the same", "[engine][preemption]") {
  engine::Limits limits = roomy_limits();
  limits.pages = 12;
  limits.model_tokens_max = 12 * 16;
  for (const bool prefix_cache : {false, true}) {
    engine::EngineOptions options;
    options.prefix_cache = prefix_cache;
    FakeEngine fake(limits, options);
    const engine::Request first = FakeEngine::request(1, 30, 120);
    const engine::Request second = FakeEngine::request(2, 30, 120, 1);
    fake.submit(first);
    fake.submit(second);
    fake.run();
    CHECK(fake.core().stats().preemptions >= 1);
    CHECK(fake.heard(1).ids() == fake.true_ids(first));
    CHECK(fake.heard(2).ids() == fake.true_ids(second));
  }
}

TEST_CASE("whose prefix is cached comes in first, but overtakes only so often", "[engine][order]") {
  engine::Limits limits = roomy_limits();
  limits.running_max = 1;
  FakeEngine fake(limits);
  fake.submit(FakeEngine::request(1, 160, 1));
  fake.run();
  const engine::Request patient = FakeEngine::request(2, 160, 1, 1);
  fake.submit(patient);
  int overtaken = 0;
  for (engine::RequestId id = 3; !fake.heard(2).finished(); ++id) {
    fake.submit(FakeEngine::request(id, 161, 1));
    fake.step();
    overtaken += fake.heard(id).finished() ? 1 : 0;
    REQUIRE(overtaken <= engine::kOvertakenMax);
  }
  CHECK(overtaken == engine::kOvertakenMax);
  CHECK(fake.heard(2).ids() == fake.true_ids(patient));
}

TEST_CASE("a pinned prompt outlives everything that is evicted around it", "[engine][pin]") {
  engine::Limits limits = roomy_limits();
  limits.pages = 40;
  limits.model_tokens_max = 20 * 16;
  FakeEngine fake(limits);
  engine::Request pinned = FakeEngine::request(1, 100, 0);
  pinned.pin = true;
  fake.submit(pinned);
  fake.run();
  CHECK(fake.heard(1).last.finish == FinishReason::kLength);
  CHECK(fake.core().stats().pages.pinned == 6);
  engine::Request once = FakeEngine::request(2, 100, 1, 5);
  fake.submit(once);
  for (engine::RequestId id = 3; id < 40; ++id) {
    fake.submit(FakeEngine::request(id, 300, 2, static_cast<std::int32_t>(id)));
    fake.run();
  }
  fake.submit(FakeEngine::request(50, 110, 2));
  once.id = 51;
  fake.submit(once);
  fake.run();
  CHECK(fake.heard(50).last.usage.cached_tokens == 96);
  CHECK(fake.heard(51).last.usage.cached_tokens == 0);
  engine::Request other = FakeEngine::request(52, 110, 2);
  other.tenant = "another";  // a pin is its tenant's
  fake.submit(other);
  fake.run();
  CHECK(fake.heard(52).last.usage.cached_tokens == 0);
}

TEST_CASE("pins leave room for the longest request, and need the prefix cache", "[engine][pin]") {
  engine::Limits limits = roomy_limits();
  limits.pages = 40;
  limits.model_tokens_max = 20 * 16;
  FakeEngine fake(limits);
  for (engine::RequestId id = 1; id <= 3; ++id) {
    engine::Request pinned = FakeEngine::request(id, 160, 0, static_cast<std::int32_t>(id));
    pinned.pin = true;
    fake.submit(pinned);
    fake.run();
  }
  CHECK(fake.core().stats().pages.pinned == 20);
  CHECK(fake.heard(3).last.fault == engine::Fault::kRequest);
  CHECK(fake.heard(3).last.error.find("0 are left for pins") != std::string::npos);
  const engine::Request longest = FakeEngine::request(4, 310, 10, 9);
  fake.submit(longest);
  fake.run();
  CHECK(fake.heard(4).ids() == fake.true_ids(longest));
  engine::EngineOptions options;
  options.prefix_cache = false;
  FakeEngine without(roomy_limits(), options);
  engine::Request pinned = FakeEngine::request(1, 100, 1);
  pinned.pin = true;
  without.submit(pinned);
  without.run();
  CHECK(without.heard(1).last.fault == engine::Fault::kRequest);
}

TEST_CASE("unseeded requests repeat with --seed and differ without", "[engine]") {
  const auto answer = [](bool seed_given, std::uint64_t seed) {
    engine::EngineOptions options;
    options.seed_given = seed_given;
    options.seed = seed;
    FakeEngine fake(roomy_limits(), options);
    std::vector<std::vector<TokenId>> answers;
    for (engine::RequestId id = 1; id <= 2; ++id) {
      engine::Request request = FakeEngine::request(id, 10, 20);
      request.sampling.temperature = 1;
      request.sampling.seed.reset();
      fake.submit(request);
      fake.run();
      answers.push_back(fake.heard(id).ids());
    }
    return answers;
  };
  CHECK(answer(true, 7)[0] == answer(true, 7)[0]);
  CHECK(answer(true, 7)[0] == answer(true, 7)[1]);
  CHECK(answer(true, 7)[0] != answer(true, 8)[0]);
  CHECK(answer(false, 7)[0] != answer(false, 7)[1]);
}

TEST_CASE("an end token ends, and is told; min_tokens holds it off", "[engine]") {
  FakeEngine fake;
  engine::Request request = FakeEngine::request(1, 10, 500);
  request.sampling.ignore_eos = false;
  fake.submit(request);
  engine::Request patient = request;
  patient.id = 2;
  patient.sampling.min_tokens = 400;
  fake.submit(patient);
  fake.run();
  CHECK(fake.heard(1).last.finish == FinishReason::kStop);
  CHECK(fake.heard(1).ids().back() == 3);
  CHECK(fake.heard(1).ids() == fake.true_ids(request));
  CHECK(fake.heard(2).tokens.size() > 400);
  CHECK(fake.heard(2).ids() == fake.true_ids(patient));
}

}  // namespace coppice::testing
