// What the engine does ahead, while a step runs behind its back, on the truth oracle. (Worlds of it: tests/sim.)
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <future>
#include <memory>

#include "tests/support/fake_engine.h"
#include "tests/support/scripted_speculator.h"

namespace coppice::testing {
namespace {

using engine::FinishReason;

std::unique_ptr<FakeEngine> engine_ahead(std::int32_t works_for = 0, const engine::Limits& limits = roomy_limits(),
                                         std::unique_ptr<engine::Speculator> speculator = nullptr) {
  return std::make_unique<FakeEngine>(limits, engine::EngineOptions{}, std::move(speculator), true, works_for);
}

// A request that ends with the end token after some tokens, which cannot be foreseen.
engine::Request sudden_request(const FakeEngine& fake, engine::RequestId id) {
  for (std::int32_t flavour = 0;; ++flavour) {
    engine::Request request = FakeEngine::request(id, 20, 200, flavour);
    request.sampling.ignore_eos = false;
    const Answer truth = fake.truth(request);
    if (truth.finish == FinishReason::kStop && truth.tokens.size() > 5 && truth.tokens.size() < 50) {
      return request;
    }
  }
}

}  // namespace

TEST_CASE("every step but the first is planned while the one before runs", "[engine][ahead]") {
  FakeEngine behind;
  const auto ahead = engine_ahead();
  for (FakeEngine* fake : {&behind, ahead.get()}) {
    for (engine::RequestId id = 1; id <= 3; ++id) {
      const auto number = static_cast<std::int32_t>(id);
      engine::Request request = FakeEngine::request(id, 20 * number, 10 * number, number);
      request.sampling.frequency_penalty = id == 2 ? 0.5F : 0.0F;  // how it samples depends on the token before
      request.sampling.top_logprobs = id == 3 ? 2 : -1;
      fake->submit(request);
    }
    fake->run();
    for (engine::RequestId id = 1; id <= 3; ++id) {
      CHECK(fake->heard(id).ids().size() == 10 * id);
      CHECK(fake->heard(id).ids() == behind.heard(id).ids());
    }
  }
  const auto steps = static_cast<std::int64_t>(ahead->core().stats().steps);
  CHECK(steps == static_cast<std::int64_t>(behind.core().stats().steps));
  CHECK(ahead->executor().submitted_as_prepared() == steps - 1);
  CHECK(ahead->executor().prepared() == steps - 1);
  CHECK(behind.executor().prepared() == 0);
}

TEST_CASE("who ends by surprise has one row too many, and a step of such rows alone is not run", "[engine][ahead]") {
  const auto fake = engine_ahead();
  const engine::Request sudden = sudden_request(*fake, 1);
  fake->submit(sudden);
  fake->run();
  CHECK(fake->heard(1).ids() == fake->true_ids(sudden));
  CHECK(fake->heard(1).last.finish == FinishReason::kStop);
  CHECK(fake->core().stats().steps == fake->true_ids(sudden).size());
  engine::Request again = sudden;
  again.id = 2;
  const engine::Request steady = FakeEngine::request(3, 30, 100, 7);
  fake->submit(again);
  fake->submit(steady);
  fake->run();
  CHECK(fake->heard(2).ids() == fake->true_ids(sudden));
  CHECK(fake->heard(3).ids() == fake->true_ids(steady));
  CHECK(fake->core().stats().generation_tokens == 2 * fake->true_ids(sudden).size() + 100);
}

TEST_CASE("a request that comes while a step runs is in the next one", "[engine][ahead]") {
  const auto fake = engine_ahead(3);
  const engine::Request first = FakeEngine::request(1, 20, 50);
  const engine::Request second = FakeEngine::request(2, 20, 5, 1);
  fake->submit(first);
  fake->step();
  int calls = 0;
  fake->meanwhile = [&] {
    if (++calls == 2) {  // the next step is planned by now
      fake->submit(second);
    }
  };
  fake->step();
  fake->meanwhile = {};
  CHECK(fake->core().stats().running == 2);
  fake->step();
  CHECK(fake->core().stats().prompt_tokens_computed == 40);
  fake->run();
  CHECK(fake->heard(1).ids() == fake->true_ids(first));
  CHECK(fake->heard(2).ids() == fake->true_ids(second));
}

TEST_CASE("a prefix that the step at hand computes is not computed again by the next", "[engine][ahead][dedupe]") {
  const auto fake = engine_ahead(3);
  fake->submit(FakeEngine::request(1, 60, 50));
  int calls = 0;
  fake->meanwhile = [&] {
    if (++calls == 2) {
      fake->submit(FakeEngine::request(2, 60, 5));
    }
  };
  fake->step();
  fake->meanwhile = {};
  fake->run();
  CHECK(fake->core().stats().prompt_tokens_computed == 60 + 12);
  CHECK(fake->heard(2).ids() == fake->true_ids(FakeEngine::request(2, 60, 5)));
}

TEST_CASE("who leaves while its step runs hears so at once, and its place is good for another", "[engine][ahead]") {
  engine::Limits limits = roomy_limits();
  limits.running_max = 1;
  const auto fake = engine_ahead(3, limits);
  fake->submit(FakeEngine::request(1, 20, 50));
  fake->step();
  fake->step();
  const engine::Request next = FakeEngine::request(2, 20, 5, 1);
  int calls = 0;
  fake->meanwhile = [&] {
    if (++calls == 2) {
      fake->core().cancel(1, -1);
      fake->submit(next);
    }
  };
  fake->step();
  fake->meanwhile = {};
  CHECK(fake->heard(1).last.finish == FinishReason::kCancelled);
  CHECK(fake->heard(1).tokens.size() == 2);
  CHECK(fake->heard(1).last.usage.completion_tokens == 2);
  CHECK(fake->core().stats().running == 1);
  fake->run();
  CHECK(fake->heard(2).ids() == fake->true_ids(next));
  CHECK(fake->heard(1).finishes == 1);
}

TEST_CASE("the choice that computes the prompt may leave while its step runs, and a deadline may pass",
          "[engine][ahead]") {
  const auto fake = engine_ahead(3);
  engine::Request several = FakeEngine::request(1, 150, 10);  // three steps of prompt
  several.choices = 3;
  several.sampling.temperature = 1;
  engine::Request late = FakeEngine::request(2, 5, 1000, 1);
  late.deadline = fake->now + std::chrono::seconds(1);
  fake->submit(several);
  fake->submit(late);
  fake->step();
  int calls = 0;
  fake->meanwhile = [&] {
    if (++calls == 2) {
      fake->core().cancel(1, 0);
      fake->now += std::chrono::seconds(2);
    }
  };
  fake->step();
  fake->meanwhile = {};
  CHECK(fake->heard(1, 0).last.finish == FinishReason::kCancelled);
  CHECK(fake->heard(2).last.finish == FinishReason::kDeadline);
  fake->run();
  for (const std::int32_t choice : {1, 2}) {
    CHECK(fake->heard(1, choice).ids() == fake->true_ids(several, choice));
    CHECK(fake->heard(1, choice).finishes == 1);
  }
  const std::vector<TokenId> told = fake->heard(2).ids();
  const std::vector<TokenId> all = fake->true_ids(late);
  CHECK(std::equal(told.begin(), told.end(), all.begin()));
  CHECK(fake->heard(2).last.usage.completion_tokens == static_cast<std::int32_t>(told.size()));
}

TEST_CASE("prompt logprobs and requests of one token or none, planned ahead", "[engine][ahead]") {
  const auto fake = engine_ahead();
  std::vector<engine::Request> requests;
  for (engine::RequestId id = 1; id <= 4; ++id) {
    engine::Request request = FakeEngine::request(id, 90,
                                                  id == 1   ? 0
                                                  : id == 2 ? 1
                                                            : 20,
                                                  static_cast<std::int32_t>(id));
    request.sampling.prompt_logprobs = id == 4 ? -1 : 2;
    fake->submit(request);
    requests.push_back(request);
  }
  fake->run();
  for (const engine::Request& request : requests) {
    const Answer truth = fake->truth(request);
    CHECK(fake->heard(request.id).ids() == fake->true_ids(request));
    CHECK(fake->heard(request.id).prompt.size() == truth.prompt.size());
    CHECK(fake->heard(request.id).finishes == 1);
  }
  CHECK(fake->executor().submitted_as_prepared() > 20);
}

TEST_CASE("what was learned can be copied while a step runs", "[engine][ahead]") {
  const auto fake = engine_ahead(3);
  fake->submit(FakeEngine::request(1, 20, 50));
  fake->step();
  std::future<engine::Learned> captured;
  fake->meanwhile = [&] {
    if (!captured.valid()) {
      captured = fake->core().capture();
    }
  };
  fake->step();
  REQUIRE(captured.valid());
  CHECK(captured.wait_for(std::chrono::seconds(0)) == std::future_status::ready);
  fake->run();
}

TEST_CASE("no sequence is preempted before it is known which ones end", "[engine][ahead]") {
  engine::Limits limits = roomy_limits();
  limits.pages = 8;
  limits.model_tokens_max = 8 * 16;
  const auto fake = engine_ahead(0, limits);
  const engine::Request first = FakeEngine::request(1, 40, 24);      // ends in the step before the one in which
  const engine::Request second = FakeEngine::request(2, 42, 80, 1);  // this wants a fifth page, and there is none
  fake->submit(first);
  fake->submit(second);
  fake->run();
  CHECK(fake->core().stats().preemptions == 0);
  CHECK(fake->executor().prepared() == static_cast<std::int64_t>(fake->core().stats().steps) - 2);
  CHECK(fake->heard(1).ids() == fake->true_ids(first));
  CHECK(fake->heard(2).ids() == fake->true_ids(second));
}

TEST_CASE("a step is written anew when drafts come to it, and the next one only when they are verified",
          "[engine][ahead]") {
  const auto fake = engine_ahead(0, roomy_limits(), std::make_unique<ScriptedSpeculator>(5, 50, 3));
  engine::Request request = FakeEngine::request(1, 20, 300);
  request.prediction = fake->true_ids(request);
  fake->submit(request);
  fake->run();
  const engine::EngineStats stats = fake->core().stats();
  CHECK(fake->heard(1).ids() == fake->true_ids(request));
  CHECK(stats.drafts.accepted > 50);
  CHECK(fake->executor().prepared() > 20);
  CHECK(fake->executor().submitted_as_prepared() > 10);
  CHECK(fake->executor().submitted_as_prepared() < fake->executor().prepared());
  CHECK(fake->executor().prepared() < static_cast<std::int64_t>(stats.steps) - 10);
}

TEST_CASE("an engine may go while a step runs", "[engine][ahead]") {
  const auto fake = engine_ahead();
  fake->submit(FakeEngine::request(1, 20, 50));
  fake->step();
  fake->step();
  CHECK(fake->executor().prepared() == 2);
}

}  // namespace coppice::testing
