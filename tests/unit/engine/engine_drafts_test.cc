// What the engine hands to a speculator, when, and for which sequences it asks for drafts.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <memory>

#include "tests/support/fake_engine.h"

namespace coppice::testing {
namespace {

// What a speculator is told.
struct Told {
  std::int32_t prompt = 0;
  std::map<engine::SequenceSlot, std::vector<TokenId>> outputs;  // what end() brings included
  std::size_t rest_most = 0;
  int ended = 0;
};
class Listener final : public engine::Speculator {
 public:
  explicit Listener(Told& told) : told_(told) {}
  void begin(engine::SequenceSlot /*slot*/, std::string_view /*tenant*/) override {}
  void observe(engine::SequenceSlot slot, engine::TokenSource source, std::span<const TokenId> tokens) override {
    if (source == engine::TokenSource::kPrompt) {
      told_.prompt += static_cast<std::int32_t>(tokens.size());
    } else {
      told_.outputs[slot].insert(told_.outputs[slot].end(), tokens.begin(), tokens.end());
    }
  }
  void propose(engine::SequenceSlot /*slot*/, std::int32_t /*draft_max*/, float /*survival_min*/,
               engine::DraftTree& /*tree*/) override {}
  void verified(engine::SequenceSlot /*slot*/, const engine::DraftTree& /*tree*/,
                std::span<const std::int32_t> /*path*/) override {}
  void end(engine::SequenceSlot slot, std::span<const TokenId> rest) override {
    told_.outputs[slot].insert(told_.outputs[slot].end(), rest.begin(), rest.end());
    told_.rest_most = std::max(told_.rest_most, rest.size());
    ++told_.ended;
  }

 private:
  Told& told_;
};

}  // namespace

TEST_CASE("the speculator is taught as long as the device works, and hears of all outputs in the end", "[engine]") {
  for (const std::int32_t works_for : {0, 100}) {
    Told told;
    FakeEngine fake(roomy_limits(), {}, std::make_unique<Listener>(told), true, works_for);
    const engine::Request request = FakeEngine::request(1, 1500, 120);  // 24 steps of prompt
    fake.submit(request);
    fake.step();
    if (works_for == 0) {
      CHECK(told.prompt < 400);
    } else {
      CHECK(told.prompt == 1500);
    }
    fake.run();
    CHECK(told.ended == 1);
    CHECK(told.outputs.begin()->second == fake.true_ids(request));
    told = {};
    engine::Request cached = request;  // its prompt costs no rows, so it is not heard in time
    cached.id = 2;
    cached.sampling.max_tokens = 12;
    fake.submit(cached);
    fake.run();
    CHECK(told.ended == 1);
    CHECK(told.outputs.begin()->second == fake.true_ids(cached));
  }
}

TEST_CASE("an output that the speculator is far behind with is left to it for later", "[engine]") {
  Told told;
  FakeEngine fake(roomy_limits(), {}, std::make_unique<Listener>(told), true);
  fake.submit(FakeEngine::request(1, 1990, 1));
  fake.run();
  engine::Request request = FakeEngine::request(2, 1990, 30);
  request.choices = 16;  // their cached prompts are as many tokens that cost no rows
  request.sampling.max_tokens = 58;
  told = {};
  fake.submit(request);
  fake.run();
  CHECK(told.rest_most > 48);
  CHECK(told.ended == 16);
  CHECK(told.outputs.size() == 16);
  for (const auto& [slot, output] : told.outputs) {
    CHECK(output == fake.true_ids(request));  // greedy: all choices say the same
  }
}

namespace {

// Counts who is asked for drafts, and guesses the output of sequences from slot `known` on right.
class Asked final : public engine::Speculator {
 public:
  Asked(std::map<engine::SequenceSlot, int>& times, engine::SequenceSlot known, std::vector<TokenId> output)
      : times_(times), known_(known), output_(std::move(output)) {}
  void begin(engine::SequenceSlot /*slot*/, std::string_view /*tenant*/) override {}
  void observe(engine::SequenceSlot slot, engine::TokenSource source, std::span<const TokenId> tokens) override {
    heard_[slot] += source == engine::TokenSource::kOutput ? tokens.size() : 0;
  }
  void propose(engine::SequenceSlot slot, std::int32_t /*draft_max*/, float /*survival_min*/,
               engine::DraftTree& tree) override {
    ++times_[slot];
    if (slot >= known_ && heard_[slot] < output_.size()) {
      tree.add(output_[heard_[slot]], -1, 1);
    }
  }
  void verified(engine::SequenceSlot /*slot*/, const engine::DraftTree& /*tree*/,
                std::span<const std::int32_t> /*path*/) override {}
  void end(engine::SequenceSlot /*slot*/, std::span<const TokenId> /*rest*/) override {}

 private:
  std::map<engine::SequenceSlot, int>& times_;
  const engine::SequenceSlot known_;
  const std::vector<TokenId> output_;
  std::map<engine::SequenceSlot, std::size_t> heard_;
};

}  // namespace

TEST_CASE("of many sequences all are asked for drafts in turn, those that draft well more often", "[engine]") {
  engine::Limits limits = roomy_limits();
  limits.pages = 1024;
  limits.step_tokens_max = 256;
  limits.step_logits_max = 256;
  limits.running_max = 150;
  limits.queued_max = 200;
  for (const int well : {1, 60}) {
    std::map<engine::SequenceSlot, int> times;
    const engine::SequenceSlot known = 150 - well;
    const engine::Request request = FakeEngine::request(1, 10, 90);
    FakeEngine fake(limits, {}, std::make_unique<Asked>(times, known, FakeEngine().true_ids(request)));
    for (engine::RequestId id = 1; id <= 150; ++id) {
      engine::Request one = request;
      one.id = id;
      fake.submit(one);
    }
    for (int i = 0; i < 15; ++i) {
      fake.step();
    }
    times.clear();
    for (int i = 0; i < 20; ++i) {
      fake.step();
    }
    CHECK(times.size() == 150);
    for (const auto& [slot, count] : times) {
      INFO(well << " draft well, slot " << slot);
      if (slot >= known) {
        CHECK(count >= (well == 1 ? 20 : 5));
      } else {
        CHECK(count >= (well == 1 ? 5 : 2));  // of 48 tokens a step, or of a quarter of them
      }
    }
    fake.run();
    for (engine::RequestId id = 1; id <= 150; ++id) {
      CHECK(fake.heard(id).ids() == fake.true_ids(request));
    }
  }
}

TEST_CASE("where steps are known to take long, all sequences are asked for drafts in every step", "[engine]") {
  engine::Limits limits = roomy_limits();
  limits.pages = 1024;
  limits.step_tokens_max = 256;
  limits.step_logits_max = 256;
  limits.running_max = 150;
  limits.queued_max = 200;
  std::map<engine::SequenceSlot, int> times;
  const engine::Request request = FakeEngine::request(1, 10, 60);
  const std::vector<TokenId> none;
  FakeEngine fake(limits, {}, std::make_unique<Asked>(times, 150, none), true, 0, 60'000'000'000);
  for (engine::RequestId id = 1; id <= 150; ++id) {
    engine::Request one = request;
    one.id = id;
    fake.submit(one);
  }
  for (int i = 0; i < 15; ++i) {
    fake.step();
  }
  times.clear();
  for (int i = 0; i < 5; ++i) {
    fake.step();
  }
  CHECK(times.size() == 150);
  for (const auto& [slot, count] : times) {
    CHECK(count == 5);  // though 150 tokens are more than the 48 that are handed over where nothing is known
  }
}

}  // namespace coppice::testing
