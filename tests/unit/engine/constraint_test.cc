// Constrained sequences on the truth oracle: what may be drawn, how they end, and what an error of a constraint ends.
#include "engine/constraint.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>

#include "tests/support/fake_engine.h"
#include "tests/support/scripted_speculator.h"
#include "tests/support/token_automaton.h"

namespace coppice::testing {
namespace {

using engine::FinishReason;

std::shared_ptr<const AutomatonSource> source(AutomatonOptions options, AutomatonCalls* calls = nullptr) {
  return std::make_shared<const AutomatonSource>(std::move(options), calls);
}

engine::Request constrained(engine::RequestId id, const AutomatonOptions& options, AutomatonCalls* calls = nullptr) {
  engine::Request request = FakeEngine::request(id, 20, 60, static_cast<std::int32_t>(id));
  request.sampling.ignore_eos = false;
  request.constraint = source(options, calls);
  return request;
}

// Whether the automaton lets the tokens come.
bool is_word(const AutomatonOptions& options, const std::vector<TokenId>& tokens) {
  AutomatonPlace place(options);
  return std::ranges::all_of(tokens, [&](TokenId token) {
    const bool may_come = place.allows(token);
    place = place.after(token);
    return may_come;
  });
}

std::unique_ptr<FakeEngine> engine_of(bool asynchronous, bool drafts = false) {
  auto speculator = drafts ? std::make_unique<ScriptedSpeculator>(3, 50) : nullptr;
  return std::make_unique<FakeEngine>(roomy_limits(), engine::EngineOptions(), std::move(speculator), asynchronous,
                                      asynchronous ? 2 : 0);
}

}  // namespace

TEST_CASE("a constrained sequence says what its constraint allows, and ends when that is complete", "[constraint]") {
  for (const bool asynchronous : {false, true}) {
    std::int32_t stops = 0;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      AutomatonOptions options;
      options.seed = seed;
      AutomatonCalls calls;
      const auto fake = engine_of(asynchronous);
      const engine::Request request = constrained(1, options, &calls);
      const engine::Request other = FakeEngine::request(2, 30, 20);
      fake->submit(request);
      fake->submit(other);
      fake->run();
      const Heard& heard = fake->heard(1);
      CHECK(calls.accepted == std::ssize(heard.tokens) - 1);  // not the one that ended it
      INFO("seed " << seed << " asynchronous " << asynchronous << " " << heard.last.error);
      CHECK(heard.ids() == fake->true_ids(request));
      CHECK(is_word(options, heard.ids()));
      CHECK(heard.last.finish == FinishReason::kStop);
      CHECK(heard.ids().back() == 3);
      CHECK(heard.tokens.size() <= 31);
      CHECK(fake->heard(2).ids() == fake->true_ids(other));
      stops += heard.tokens.size() < 31 ? 1 : 0;
    }
    CHECK(stops > 0);
    CHECK(stops < 20);
  }
}

TEST_CASE("a request without a constraint has no mask, and one with free places has none there", "[constraint]") {
  const auto fake = engine_of(false);
  fake->submit(FakeEngine::request(1, 30, 20));
  fake->run();
  CHECK(fake->core().stats().constraints.masks == 0);
  AutomatonOptions options;
  options.free_in = 1;
  options.forced_in = 0;
  options.length_max = 1000;
  const engine::Request request = constrained(2, options);
  fake->submit(request);
  fake->run();
  CHECK(fake->heard(2).ids() == fake->true_ids(request));
  CHECK(fake->core().stats().constraints.masks == 0);
  options.free_in = 0;
  options.length_max = 10;
  options.length_min = 10;
  fake->submit(constrained(3, options));
  fake->run();
  CHECK(fake->core().stats().constraints.masks == 11);
}

TEST_CASE("max_tokens inside a constraint ends with length, and what came is a beginning", "[constraint]") {
  AutomatonOptions options;
  options.length_min = 30;
  options.free_in = 0;
  const auto fake = engine_of(false);
  engine::Request request = constrained(1, options);
  request.sampling.max_tokens = 12;
  fake->submit(request);
  fake->run();
  CHECK(fake->heard(1).last.finish == FinishReason::kLength);
  CHECK(fake->heard(1).tokens.size() == 12);
  CHECK(is_word(options, fake->heard(1).ids()));
}

TEST_CASE("where min_tokens leaves nothing that may come, the constraint wins", "[constraint]") {
  for (const bool drafts : {false, true}) {
    AutomatonOptions options;
    options.length_max = 9;
    options.free_in = 0;
    const auto fake = engine_of(false, drafts);
    engine::Request request = constrained(1, options);
    request.sampling.min_tokens = 40;
    const std::vector<TokenId> truth = fake->true_ids(request);
    request.prediction = truth;
    fake->submit(request);
    fake->run();
    CHECK(fake->heard(1).ids() == truth);
    CHECK(fake->heard(1).tokens.size() == 10);  // no end token before it had to come
    CHECK(fake->heard(1).last.finish == FinishReason::kStop);
  }
}

TEST_CASE("with ignore_eos a complete constraint brings end tokens up to the length", "[constraint]") {
  for (const bool drafts : {false, true}) {
    AutomatonOptions options;
    options.length_max = 9;
    options.free_in = 0;
    const auto fake = engine_of(false, drafts);
    engine::Request request = constrained(1, options);
    request.sampling.ignore_eos = true;
    request.sampling.max_tokens = 25;
    const std::vector<TokenId> truth = fake->true_ids(request);
    request.prediction = truth;
    fake->submit(request);
    fake->run();
    CHECK(fake->heard(1).ids() == truth);
    CHECK(fake->heard(1).last.finish == FinishReason::kLength);
    CHECK(std::count(truth.begin(), truth.end(), 3) >= 16);
    CHECK(truth.size() == 25);
  }
}

TEST_CASE("each choice has a constraint of its own", "[constraint]") {
  for (const bool asynchronous : {false, true}) {
    const auto fake = engine_of(asynchronous);
    engine::Request request = constrained(1, AutomatonOptions());
    request.sampling.temperature = 1;
    request.choices = 6;
    fake->submit(request);
    fake->run();
    for (std::int32_t choice = 0; choice < 6; ++choice) {
      CHECK(fake->heard(1, choice).ids() == fake->true_ids(request, choice));
      CHECK(is_word(AutomatonOptions(), fake->heard(1, choice).ids()));
    }
  }
}

TEST_CASE("a constraint that cannot begin ends its choice, and each sibling likewise", "[constraint]") {
  for (const bool asynchronous : {false, true}) {
    AutomatonOptions options;
    options.fails_to_begin = true;
    const auto fake = engine_of(asynchronous);
    engine::Request request = constrained(1, options);
    request.choices = 3;
    const engine::Request other = FakeEngine::request(2, 30, 20);
    fake->submit(request);
    fake->submit(other);
    fake->run();
    for (std::int32_t choice = 0; choice < 3; ++choice) {
      CHECK(fake->heard(1, choice).tokens.empty());
      CHECK(fake->heard(1, choice).last.finish == FinishReason::kError);
      CHECK(fake->heard(1, choice).last.error == "the constraint on the output failed: the automaton was told to fail");
    }
    CHECK(fake->heard(2).ids() == fake->true_ids(other));
    CHECK(fake->core().stats().constraints.failed == 3);
    CHECK(fake->core().stats().prompt_tokens_computed == 30);  // nothing of the request that failed
    CHECK(fake->core().stats().pages.free + fake->core().stats().pages.cached == roomy_limits().pages);
  }
}

TEST_CASE("a constraint that fails in any of its calls ends its own sequence alone", "[constraint]") {
  for (const bool asynchronous : {false, true}) {
    for (const bool drafts : {false, true}) {
      for (std::int32_t call = 1; call <= 30; ++call) {
        INFO("asynchronous " << asynchronous << " drafts " << drafts << " call " << call);
        AutomatonOptions options;
        options.length_min = 30;
        options.free_in = 0;
        const auto fake = engine_of(asynchronous, drafts);
        engine::Request failing = constrained(1, options);
        const engine::Request sound = constrained(2, options);
        const std::vector<TokenId> truth = fake->true_ids(failing);
        failing.prediction = truth;
        options.call_fails_at = call;
        failing.constraint = source(options);
        failing.choices = 2;
        fake->submit(failing);
        fake->submit(sound);
        fake->run();
        const std::vector<TokenId> ids = fake->heard(1).ids();
        CHECK(fake->heard(1).finishes == 1);
        CHECK(fake->heard(1, 1).finishes == 1);
        CHECK(fake->heard(1).last.finish == FinishReason::kError);
        CHECK(fake->heard(1).last.usage.completion_tokens == std::ssize(ids));
        CHECK(ids.size() < truth.size());
        CHECK(std::equal(ids.begin(), ids.end(), truth.begin()));
        CHECK(fake->heard(2).ids() == fake->true_ids(sound));
      }
    }
  }
}

TEST_CASE("an error at the k-th token comes after k tokens, with drafts and without", "[constraint]") {
  for (const bool asynchronous : {false, true}) {
    for (const bool drafts : {false, true}) {
      for (const std::int32_t token : {1, 2, 7, 20}) {
        AutomatonOptions options;
        options.length_min = 30;
        options.free_in = 0;
        options.accept_fails_at = token;
        const auto fake = engine_of(asynchronous, drafts);
        engine::Request request = constrained(1, options);
        const Answer truth = fake->truth(request);
        request.prediction = fake->true_ids(request);
        fake->submit(request);
        fake->run();
        CHECK(std::ssize(truth.tokens) == token);
        CHECK(fake->heard(1).ids() == fake->true_ids(request));
        CHECK(fake->heard(1).last.finish == FinishReason::kError);
      }
    }
  }
}

TEST_CASE("a constraint survives preemption, and a cancel in flight", "[constraint]") {
  for (const bool asynchronous : {false, true}) {
    engine::Limits limits = roomy_limits();
    limits.pages = 16;
    limits.model_tokens_max = 16 * 16;
    FakeEngine fake(limits, {}, nullptr, asynchronous, asynchronous ? 2 : 0);
    AutomatonOptions options;
    options.length_min = 100;
    options.length_max = 100;
    options.free_in = 0;
    std::vector<engine::Request> requests;
    AutomatonCalls calls;
    for (engine::RequestId id = 1; id <= 6; ++id) {
      requests.push_back(constrained(id, options, &calls));
      requests.back().sampling.max_tokens = 120;
      fake.submit(requests.back());
    }
    for (int i = 0; i < 8; ++i) {
      fake.step();
    }
    fake.core().cancel(6, -1);
    fake.run();
    CHECK(fake.core().stats().preemptions > 0);
    for (const engine::Request& request : requests) {
      const std::vector<TokenId> ids = fake.heard(request.id).ids();
      const std::vector<TokenId> truth = fake.true_ids(request);
      const bool is_cancelled = request.id == 6;
      CHECK((is_cancelled ? FinishReason::kCancelled : FinishReason::kStop) == fake.heard(request.id).last.finish);
      CHECK((is_cancelled ? ids.size() < truth.size() : ids.size() == 101));
      CHECK(std::equal(ids.begin(), ids.end(), truth.begin()));
    }
  }
}

namespace {

// Proposes nothing, and counts how often it is asked.
class Silent final : public engine::Speculator {
 public:
  explicit Silent(int* asked) : asked_(asked) {}
  void begin(engine::SequenceSlot /*slot*/, std::string_view /*tenant*/) override {}
  void observe(engine::SequenceSlot /*slot*/, engine::TokenSource /*source*/,
               std::span<const TokenId> /*tokens*/) override {}
  void propose(engine::SequenceSlot /*slot*/, std::int32_t /*draft_max*/, float /*survival_min*/,
               engine::DraftTree& /*tree*/) override {
    ++*asked_;
  }
  void verified(engine::SequenceSlot /*slot*/, const engine::DraftTree& /*tree*/,
                std::span<const std::int32_t> /*path*/) override {}
  void end(engine::SequenceSlot /*slot*/, std::span<const TokenId> /*rest*/) override {}

 private:
  int* const asked_;
};

// Nearly every token is forced.
AutomatonOptions strict_options() {
  AutomatonOptions options;
  options.length_min = 50;
  options.length_max = 50;
  options.forced_in = 2;
  options.run = 6;
  options.free_in = 0;
  return options;
}

}  // namespace

TEST_CASE("forced tokens are drafted, all of them accepted, and halve the steps", "[constraint][drafts]") {
  for (const bool asynchronous : {false, true}) {
    const engine::Request request = constrained(1, strict_options());
    FakeEngine plain(roomy_limits(), {}, nullptr, asynchronous);
    plain.submit(request);
    plain.run();
    CHECK(plain.core().stats().steps == 51);
    CHECK(plain.core().stats().drafts.tokens == 0);  // no speculator: speculation is off, forced tokens or not
    int asked = 0;
    FakeEngine fake(roomy_limits(), {}, std::make_unique<Silent>(&asked), asynchronous);
    fake.submit(request);
    fake.run();
    CHECK(fake.heard(1).ids() == fake.true_ids(request));
    CHECK(fake.heard(1).ids() == plain.heard(1).ids());
    const engine::EngineStats stats = fake.core().stats();
    CHECK(stats.steps <= 25);
    CHECK(stats.constraints.forced_drafted > 25);
    CHECK(stats.constraints.forced_accepted == stats.constraints.forced_drafted);
    CHECK(stats.drafts.accepted == stats.constraints.forced_accepted);
    CHECK(asked > 0);
  }
}

TEST_CASE("forced tokens are drafted for a sequence that the speculator does not know yet", "[constraint][drafts]") {
  int asked = 0;
  FakeEngine fake(roomy_limits(), {}, std::make_unique<Silent>(&asked), true);
  engine::Request request = constrained(1, strict_options());
  request.prompt = FakeEngine::request(1, 1600, 1).prompt;
  fake.submit(request);
  fake.run();
  asked = 0;
  const std::uint64_t before = fake.core().stats().constraints.forced_accepted;
  request.id = 2;  // its prompt is found in the cache, so there is no time to hand it over
  request.sampling.max_tokens = 12;
  fake.submit(request);
  fake.run();
  CHECK(asked == 0);
  CHECK(fake.core().stats().constraints.forced_accepted - before > 4);
  CHECK(fake.heard(2).ids() == fake.true_ids(request));
}

TEST_CASE("forced tokens stay within the room for drafts", "[constraint][drafts]") {
  engine::Limits limits = roomy_limits();
  limits.step_tokens_max = 4;
  limits.step_logits_max = 4;
  limits.running_max = 3;
  int asked = 0;
  FakeEngine fake(limits, {}, std::make_unique<Silent>(&asked));
  std::vector<engine::Request> requests;
  for (engine::RequestId id = 1; id <= 5; ++id) {
    requests.push_back(constrained(id, strict_options()));
    requests.back().sampling.max_tokens = 30;
    fake.submit(requests.back());
  }
  fake.run();
  CHECK(fake.core().stats().constraints.forced_accepted > 0);
  for (const engine::Request& request : requests) {
    CHECK(fake.heard(request.id).ids() == fake.true_ids(request));
  }
}

TEST_CASE("what a constraint forbids is not drafted", "[constraint][drafts]") {
  for (const bool asynchronous : {false, true}) {
    const auto fake = engine_of(asynchronous, true);
    AutomatonOptions options;
    options.length_min = 50;
    options.length_max = 50;
    options.forced_in = 0;
    options.free_in = 0;
    AutomatonCalls calls;
    engine::Request request = constrained(1, options);
    request.prediction = fake->true_ids(request);
    request.constraint = source(options, &calls);
    fake->submit(request);
    fake->run();
    CHECK(fake->heard(1).ids() == request.prediction);
    const engine::EngineStats stats = fake->core().stats();
    CHECK(stats.drafts.accepted > 15);
    CHECK(stats.constraints.forced_drafted == 0);
    CHECK(static_cast<std::uint64_t>(calls.checked_nodes) > stats.drafts.tokens);  // some were dropped
    CHECK(static_cast<std::uint64_t>(calls.masks) == stats.drafts.tokens + stats.steps);
  }
}

TEST_CASE("a request that reads has no constraint", "[constraint]") {
  const auto fake = engine_of(false);
  engine::Request request = FakeEngine::request(1, 20, 0);
  request.reading = engine::Reading::kLastHidden;
  request.branches.resize(1);
  request.sampling = {};
  request.sampling.max_tokens = 0;
  request.constraint = source({});
  fake->submit(request);
  fake->run();
  CHECK(fake->heard(1).last.finish == FinishReason::kError);
  CHECK(fake->heard(1).last.fault == engine::Fault::kRequest);
}

}  // namespace coppice::testing
