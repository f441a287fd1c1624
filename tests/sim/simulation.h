// Simulation: a seeded world around an EngineCore: random requests arrive, leave early, run out of time, fork, share
// prefixes and guess drafts, in a pool too small for them, on an executor that may fail. Every answer that survives
// must be the oracle's.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "engine/engine_core.h"
#include "tests/support/fake_engine.h"
#include "tests/support/fake_executor.h"
#include "tests/support/recording_executor.h"
#include "tests/support/token_automaton.h"

namespace coppice::testing {

// The device of a world, and how fast time passes.
struct WorldDevice {
  bool asynchronous = false;       // it works beside the engine's thread, so steps are planned ahead
  std::uint64_t step_ns = 0;       // time that it reports for every step
  std::int32_t works_for = 0;      // times in a step that it says it still works; the world goes on meanwhile
  std::uint32_t tick_ns = 20'000;  // most time between two looks at the clock
  std::uint32_t submit_fails_in = 0;
  std::uint32_t collect_fails_in = 0;
  std::uint64_t broken_in = 0;  // FakeModel's
};

struct WorldConstraints {
  std::uint32_t in = 0;          // 1/in of the requests that generate have a constraint; 0 = none
  std::uint32_t failing_in = 0;  // of these, 1/failing_in have one that fails in one of its calls; 0 = none
};

struct World {
  std::uint64_t seed = 1;
  std::int32_t requests = 1000;
  std::int32_t live_max = 24;     // requests submitted and not finished, as the world sees it
  std::int32_t arrivals_max = 3;  // a step
  std::int32_t prompt_max = 80;
  std::int32_t output_max = 40;
  std::int32_t choices_max = 4;
  std::uint32_t shares_in = 2;     // 1/shares_in of the requests continue an earlier prompt; 0 = none
  std::uint32_t readings_in = 0;   // 1/readings_in of the requests read instead of generating; 0 = none
  std::uint32_t cancels_in = 0;    // a request is cancelled once in this number of steps; 0 = never
  std::uint32_t deadlines_in = 0;  // 1/deadlines_in of the requests have one; 0 = none
  std::uint32_t priorities = 1;
  std::uint32_t background_in = 0;  // 1/background_in of the requests run in the background; 0 = none
  std::uint32_t keeps_in = 0;       // 1/keeps_in say what the cache shall keep, read and write; 0 = none
  WorldConstraints constraints;
  std::uint32_t drafts_in = 0;  // each sequence proposes drafts once in this number of steps; 0 = never
  bool prefix_cache = true;
  WorldDevice device;
  std::vector<RecordedStep>* recording = nullptr;  // of all steps; null: none is kept
  engine::Limits limits;
};

// What a world runs on.
FakeModel model_of(const World& world);
FakeExecutor::Options executor_options(const World& world);

// Limits for a small pool; the caller changes what it wants.
engine::Limits small_limits();

// What became of one choice.
struct Outcome {
  Answer answer;
  std::string error;
  engine::Usage usage;
  std::int32_t finishes = 0;
};

struct Client {
  engine::Request request;
  bool failing = false;  // the engine has it with a constraint that fails
  std::uint64_t seed = 0;
  bool cancelled = false;
  std::int32_t choices_left = 0;
  std::vector<Outcome> outcomes;  // by choice
};

struct Tally {
  std::int64_t completed = 0;
  std::int64_t read = 0;       // of these, readings
  std::int64_t cut_short = 0;  // cancelled or out of time
  std::int64_t failed = 0;     // by an injected failure
  std::int64_t broken = 0;     // logits that were no numbers
  std::int64_t unruly = 0;     // constraints that failed
  std::int64_t refused = 0;    // queue full
  std::int64_t steps = 0;
};

// One run. Thread: one.
class Simulation {
 public:
  explicit Simulation(const World& world);
  // Runs to the end and checks every outcome with Catch's REQUIRE.
  Tally run();
  const engine::EngineCore& engine() const { return *engine_; }
  // A hash of all events, in order, with the step in which each was heard.
  std::uint64_t log() const { return log_; }
  const FakeExecutor& executor() const { return *executor_; }

 private:
  std::uint32_t random(std::uint32_t bound);
  bool one_in(std::uint32_t count) { return count != 0 && random(count) == 0; }
  engine::Request make_request();
  void shape_sampling(engine::SamplingParameters& sampling);
  void make_reading(engine::Request& request);
  void shape_cache_use(engine::Request& request);
  AutomatonOptions random_automaton();
  void arrive();
  void disturb();
  void meanwhile();
  void take_events();
  void write_log(const engine::Event& event);
  void judge(engine::RequestId id, const Client& client);
  void judge_choice(const Client& client, std::int32_t choice);

  const World world_;
  FakeModel model_;
  base::Clock::TimePoint now_{};
  std::shared_ptr<engine::EventQueue> events_;
  FakeExecutor* executor_ = nullptr;  // the engine's
  std::unique_ptr<engine::EngineCore> engine_;
  std::map<engine::RequestId, Client> clients_;
  std::vector<std::vector<TokenId>> prompts_;  // of earlier requests, to be continued
  std::uint64_t draws_ = 0;
  engine::RequestId submitted_ = 0;
  Tally tally_;
  std::uint64_t log_ = 0;
};

}  // namespace coppice::testing
