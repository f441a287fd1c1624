// FakeEngine: an EngineCore on the truth oracle with one event queue, for tests of single behaviours.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "engine/engine_core.h"
#include "tests/support/fake_executor.h"

namespace coppice::testing {

// Time that stands still until a test moves it.
class ManualClock final : public base::Clock {
 public:
  explicit ManualClock(const TimePoint* now) : now_(now) {}
  TimePoint now() const override { return *now_; }

 private:
  const TimePoint* now_;
};

// Time that passes with every look at it: each takes up to `tick_ns` nanoseconds, drawn from a seed. So code that
// measures itself measures something, and the same in every run.
class TickingClock final : public base::Clock {
 public:
  TickingClock(TimePoint* now, std::uint64_t seed, std::uint32_t tick_ns) : now_(now), seed_(seed), tick_ns_(tick_ns) {}
  TimePoint now() const override {
    *now_ += std::chrono::nanoseconds(base::philox4x32(seed_, ++looks_, 0x71C)[0] % (tick_ns_ + 1));
    return *now_;
  }

 private:
  TimePoint* const now_;
  const std::uint64_t seed_;
  const std::uint32_t tick_ns_;
  mutable std::uint64_t looks_ = 0;
};

// Everything heard of one choice.
struct Heard {
  std::vector<engine::TokenInfo> tokens;
  std::vector<engine::TokenInfo> prompt;
  engine::Event last;  // valid once finishes > 0
  int finishes = 0;
  std::uint64_t queued_ns = 0;  // as the first event said

  bool finished() const { return finishes > 0; }
  std::vector<TokenId> ids() const {
    std::vector<TokenId> ids;
    std::transform(tokens.begin(), tokens.end(), std::back_inserter(ids),
                   [](const engine::TokenInfo& info) { return info.token; });
    return ids;
  }
};

// Limits of a pool with room for a few sequences.
inline engine::Limits roomy_limits() {
  engine::Limits limits;
  limits.page_size = 16;
  limits.pages = 256;
  limits.model_tokens_max = 2048;
  limits.step_tokens_max = 64;
  limits.step_logits_max = 32;
  limits.running_max = 16;
  limits.queued_max = 64;
  limits.chunk_tokens_max = 64;
  return limits;
}

// Owner and thread: the test.
class FakeEngine {
 public:
  explicit FakeEngine(const engine::Limits& limits = roomy_limits(), const engine::EngineOptions& options = {},
                      std::unique_ptr<engine::Speculator> speculator = nullptr, bool asynchronous = false,
                      std::int32_t works_for = 0, std::uint64_t device_ns = 0)
      : queue_(std::make_shared<engine::EventQueue>(nullptr)) {
    model_.eos = {3};
    model_.context = limits.model_tokens_max;
    FakeExecutor::Options fake;
    fake.pages = limits.pages;
    fake.page_size = limits.page_size;
    fake.step_tokens_max = limits.step_tokens_max;
    fake.step_logits_max = limits.step_logits_max;
    fake.asynchronous = asynchronous;
    fake.works_for = works_for;
    fake.device_ns = device_ns;
    fake.meanwhile = [this] {
      if (meanwhile) {
        meanwhile();
      }
    };
    engine::EngineParts parts;
    auto executor = std::make_unique<FakeExecutor>(model_, fake);
    executor_ = executor.get();
    parts.executor = std::move(executor);
    parts.speculator = std::move(speculator);
    parts.clock = std::make_unique<ManualClock>(&now);
    parts.check_integrity = true;
    models::ModelConfig config;
    config.vocab = model_.vocab;
    config.eos = model_.eos;
    core_ = std::make_unique<engine::EngineCore>(limits, options, config, std::move(parts));
  }

  // A greedy request of `prompt_count` tokens that differ with `flavour`; ends by length alone.
  static engine::Request request(engine::RequestId id, std::int32_t prompt_count, std::int32_t max_tokens,
                                 std::int32_t flavour = 0) {
    engine::Request request;
    request.id = id;
    for (std::int32_t i = 0; i < prompt_count; ++i) {
      request.prompt.push_back((i * 7 + flavour * 13 + i * i % 11) % 50);
    }
    request.sampling.temperature = 0;
    request.sampling.max_tokens = max_tokens;
    request.sampling.ignore_eos = true;
    request.sampling.seed = 42;
    return request;
  }

  bool submit(engine::Request request) {
    request.events = queue_;
    return core_->submit(std::move(request));
  }
  bool step() {
    const bool busy = core_->step();
    for (engine::Event& event : queue_->take()) {
      Heard& heard = heard_[{event.request, event.choice}];
      heard.queued_ns = heard.tokens.empty() ? event.queued_ns : heard.queued_ns;
      std::move(event.tokens.begin(), event.tokens.end(), std::back_inserter(heard.tokens));
      std::move(event.prompt.begin(), event.prompt.end(), std::back_inserter(heard.prompt));
      if (event.finish != engine::FinishReason::kNone) {
        ++heard.finishes;
        heard.last = std::move(event);
      }
    }
    return busy;
  }
  int run() {
    int steps = 0;
    while (step()) {
      ++steps;
    }
    return steps;
  }
  Heard& heard(engine::RequestId id, std::int32_t choice = 0) { return heard_[{id, choice}]; }
  Answer truth(const engine::Request& request, std::int32_t choice = 0) const {
    return direct_answer(request, engine::choice_seed(*request.sampling.seed, choice), model_);
  }
  std::vector<TokenId> true_ids(const engine::Request& request, std::int32_t choice = 0) const {
    Heard heard;
    heard.tokens = truth(request, choice).tokens;
    return heard.ids();
  }
  engine::EngineCore& core() { return *core_; }
  const FakeExecutor& executor() const { return *executor_; }
  const FakeModel& model() const { return model_; }

  base::Clock::TimePoint now{};
  std::function<void()> meanwhile;  // called while a step runs, `works_for` times

 private:
  FakeModel model_;
  std::shared_ptr<engine::EventQueue> queue_;
  FakeExecutor* executor_ = nullptr;  // the core's
  std::unique_ptr<engine::EngineCore> core_;
  std::map<std::pair<engine::RequestId, std::int32_t>, Heard> heard_;
};

}  // namespace coppice::testing
