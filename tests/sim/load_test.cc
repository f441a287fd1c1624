// Load: the engine on its own thread with a real model on the CPU and a pool far too small, and many client threads
// whose requests arrive at random, are cancelled, time out, or whose client just leaves. Every answer that survives is,
// to the bit, that of the request alone on an idle engine; no request starves; at every pause all pages are accounted
// for. LOAD_SECONDS says how long (20). For the address and thread sanitizers: the model runs on one thread.
#include <algorithm>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>

#include "base/random.h"
#include "engine/engine_thread.h"
#include "engine/runner.h"
#include "tests/support/engine_harness.h"
#include "tests/support/scripted_speculator.h"

namespace coppice::testing {
namespace {

using Clock = std::chrono::steady_clock;
using engine::FinishReason;

constexpr std::int32_t kClients = 4;
constexpr std::int32_t kPages = 40;
constexpr std::int32_t kPageSize = 16;
constexpr std::int32_t kCatalogue = 96;
// Steps, not seconds: a sanitizer, or a machine that stands still for a while, starves no request.
constexpr std::uint64_t kStarvedSteps = 4000;
constexpr int kRestPolls = 20000;

models::ModelConfig tiny_config() {
  models::ModelConfig config;
  config.vocab = 160;
  config.hidden = 32;
  config.intermediate = 64;
  config.layers = 2;
  config.query_heads = 4;
  config.key_heads = 2;
  config.head_dim = 8;
  config.max_positions = kPages * kPageSize;
  config.rope.rotary_dim = 8;
  config.rope.attention_factor = 1.0;
  config.eos = {7};
  return config;
}

// What clients ask for: shared and own prefixes of four tenants, greedy and drawn, logprobs, several choices.
std::vector<engine::Request> make_catalogue() {
  std::uint64_t draws = 0;
  const auto draw = [&](std::uint32_t bound) { return base::philox4x32(31, ++draws, 0x10ad)[0] % bound; };
  std::vector<TokenId> common(160);
  std::generate(common.begin(), common.end(), [&] { return static_cast<TokenId>(draw(160)); });
  std::vector<engine::Request> catalogue(kCatalogue);
  for (engine::Request& request : catalogue) {
    if (draw(3) != 0) {
      request.prompt.assign(common.begin(), common.begin() + 16 + draw(140));
    }
    for (std::uint32_t own = draw(4) == 0 ? 60 + draw(120) : 1 + draw(20); own > 0; --own) {
      request.prompt.push_back(static_cast<TokenId>(draw(160)));
    }
    request.sampling.max_tokens = 8 + static_cast<std::int32_t>(draw(100));
    request.sampling.temperature = draw(3) == 0 ? 0.0F : 0.8F;
    request.sampling.repetition_penalty = draw(4) == 0 ? 1.2F : 1.0F;
    request.sampling.seed = 100 + draw(1000);
    request.sampling.top_logprobs = static_cast<std::int32_t>(draw(4)) - 1;
    request.sampling.prompt_logprobs = draw(8) == 0 ? 1 : -1;
    request.sampling.ignore_eos = draw(2) == 0;
    request.choices = draw(6) == 0 ? 3 : 1;
    request.priority = draw(8) == 0 ? -1 : 0;
    request.tenant = std::string(1, static_cast<char>('a' + draw(4)));
  }
  return catalogue;
}

struct Tally {
  std::int64_t whole = 0;
  std::int64_t cut = 0;
  std::int64_t refused = 0;
  std::int64_t left = 0;
  std::uint64_t longest = 0;  // steps from a request to its end
  std::string wrong;          // the first thing that was
};

// One client thread. Its queue's wake-up only rings a bell, as a front end's does.
class Visitor {
 public:
  Visitor(engine::Engine& engine, const std::vector<engine::Request>& catalogue, const HarnessRun& quiet,
          std::uint64_t seed)
      : engine_(engine), catalogue_(catalogue), quiet_(quiet), seed_(seed), bell_(std::make_shared<Bell>()) {
    come_back();
  }

  // Asks at random until `end`, then waits for what is still out.
  void visit(Clock::time_point end) {
    while (Clock::now() < end && tally_.wrong.empty()) {
      if (live_.size() < 8 && random(3) == 0) {
        ask();
      }
      if (!live_.empty() && random(12) == 0) {
        cancel();
      }
      if (random(400) == 0) {
        leave();
      }
      listen(std::chrono::microseconds(random(4) == 0 ? random(20000) : random(500)));
    }
    while (!live_.empty() && tally_.wrong.empty()) {
      listen(std::chrono::milliseconds(100));
    }
  }

  const Tally& tally() const { return tally_; }

 private:
  struct Bell {
    std::mutex mutex;
    std::condition_variable ready;
    bool rung = false;  // guarded by mutex
  };
  struct Out {
    std::size_t kind = 0;  // in the catalogue
    bool cancelled = false;
    bool may_expire = false;
    std::uint64_t since_step = 0;
    std::int32_t choices_left = 0;
    std::vector<ChoiceText> texts;
  };

  std::uint32_t random(std::uint32_t bound) { return base::philox4x32(seed_, ++draws_, 0x10ae)[0] % bound; }

  void come_back() {
    queue_ = std::make_shared<engine::EventQueue>([bell = bell_] {
      const std::lock_guard<std::mutex> lock(bell->mutex);
      bell->rung = true;
      bell->ready.notify_one();
    });
  }

  void ask() {
    Out out;
    out.kind = random(static_cast<std::uint32_t>(catalogue_.size()));
    engine::Request request = catalogue_[out.kind];
    request.id = (seed_ << 40U) + ++asked_;
    request.events = queue_;
    if (random(10) == 0) {
      out.may_expire = true;
      request.deadline = Clock::now() + std::chrono::milliseconds(random(200));
    }
    if (random(2) == 0) {
      for (const engine::TokenInfo& info : quiet_.texts[out.kind].front().tokens) {
        request.prediction.push_back(random(10) == 0 ? static_cast<TokenId>(random(160)) : info.token);
      }
    }
    out.since_step = engine_.stats().steps;
    out.choices_left = request.choices;
    out.texts.resize(static_cast<std::size_t>(request.choices));
    const engine::RequestId id = request.id;
    if (engine_.submit(std::move(request))) {
      live_.emplace(id, std::move(out));
    } else {
      ++tally_.refused;
    }
  }

  void cancel() {
    auto chosen = live_.begin();
    std::advance(chosen, random(static_cast<std::uint32_t>(live_.size())));
    chosen->second.cancelled = true;
    engine_.cancel(chosen->first, static_cast<std::int32_t>(random(4)) - 1);
  }

  // The connection breaks: everything is cancelled and no client listens any more.
  void leave() {
    tally_.left += static_cast<std::int64_t>(live_.size());
    for (const auto& [id, out] : live_) {
      engine_.cancel(id, -1);
    }
    live_.clear();
    come_back();
  }

  void listen(std::chrono::microseconds patience) {
    {
      std::unique_lock<std::mutex> lock(bell_->mutex);
      bell_->ready.wait_for(lock, patience, [this] { return bell_->rung; });
      bell_->rung = false;
    }
    for (engine::Event& event : queue_->take()) {
      hear(std::move(event));
    }
    const std::uint64_t steps = engine_.stats().steps;
    for (const auto& [id, out] : live_) {
      tally_.longest = std::max(tally_.longest, steps - out.since_step);
      if (steps - out.since_step > kStarvedSteps) {
        tally_.wrong = "request " + std::to_string(id) + " starves";
      }
    }
  }

  void hear(engine::Event event) {
    const auto found = live_.find(event.request);
    if (found == live_.end()) {
      tally_.wrong = "an event of a request that has ended";
      return;
    }
    Out& out = found->second;
    ChoiceText& text = out.texts[static_cast<std::size_t>(event.choice)];
    std::move(event.tokens.begin(), event.tokens.end(), std::back_inserter(text.tokens));
    std::move(event.prompt.begin(), event.prompt.end(), std::back_inserter(text.prompt));
    if (event.finish == FinishReason::kNone) {
      return;
    }
    text.finish = event.finish;
    text.error = event.error;
    judge(out, static_cast<std::size_t>(event.choice));
    if (--out.choices_left == 0) {
      live_.erase(found);
    }
  }

  void judge(const Out& out, std::size_t choice) {
    const ChoiceText& text = out.texts[choice];
    ChoiceText truth = quiet_.texts[out.kind][choice];
    if (text.finish == FinishReason::kStop || text.finish == FinishReason::kLength) {
      ++tally_.whole;
    } else if ((text.finish == FinishReason::kCancelled && out.cancelled) ||
               (text.finish == FinishReason::kDeadline && out.may_expire)) {
      ++tally_.cut;  // what came before must be right all the same
      truth.finish = text.finish;
      truth.tokens.resize(std::min(truth.tokens.size(), text.tokens.size()));
      truth.prompt = text.prompt.empty() ? text.prompt : truth.prompt;
    }
    if (!same_bits(text, truth)) {
      tally_.wrong = "request kind " + std::to_string(out.kind) + " choice " + std::to_string(choice) + " finish " +
                     std::to_string(static_cast<int>(text.finish)) + " " + text.error + " differs from the quiet run";
    }
  }

  engine::Engine& engine_;
  const std::vector<engine::Request>& catalogue_;
  const HarnessRun& quiet_;
  const std::uint64_t seed_;
  const std::shared_ptr<Bell> bell_;
  std::shared_ptr<engine::EventQueue> queue_;
  std::map<engine::RequestId, Out> live_;
  std::uint64_t draws_ = 0;
  std::uint64_t asked_ = 0;
  Tally tally_;
};

engine::Limits crowded_limits() {
  engine::Limits limits;
  limits.page_size = kPageSize;
  limits.pages = kPages;
  limits.model_tokens_max = kPages * kPageSize;
  limits.step_tokens_max = 48;
  limits.step_logits_max = 48;
  limits.chunk_tokens_max = 48;
  limits.running_max = 10;
  limits.queued_max = 24;
  return limits;
}

std::unique_ptr<engine::EngineCore> crowded_engine(HarnessModel& model) {
  const engine::Limits limits = crowded_limits();
  engine::EngineOptions options;
  engine::EngineParts parts;
  auto runner = engine::make_runner(*model.transformer, *model.backend, limits, options);
  REQUIRE(runner.ok());
  parts.executor = std::move(*runner);
  parts.speculator = std::make_unique<ScriptedSpeculator>(9, model.transformer->config().vocab);
  parts.drafts.nodes_max = 8;
  parts.check_integrity = true;
  return std::make_unique<engine::EngineCore>(limits, options, model.transformer->config(), std::move(parts));
}

// The clients have all they asked for, or have left: the engine must come to rest with all pages in place.
std::string check_rest(const engine::Engine& engine) {
  engine::EngineStats stats;
  int polls = 0;
  do {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    stats = engine.stats();
  } while ((stats.running > 0 || stats.waiting > 0) && ++polls < kRestPolls);
  if (stats.running > 0 || stats.waiting > 0) {
    return "the engine does not come to rest";
  }
  return stats.pages.free + stats.pages.cached == stats.pages.total ? "" : "pages are missing";
}

double load_seconds() {
  const char* text = std::getenv("LOAD_SECONDS");
  return text == nullptr ? 20 : std::atof(text);
}

}  // namespace

TEST_CASE("under load every answer that survives is the quiet one, and no page is lost", "[load]") {
  for (const kernels::ComputeType dtype : {kernels::ComputeType::kF32, kernels::ComputeType::kBF16}) {
    HarnessModel model = random_model(tiny_config(), dtype, 5);
    const std::vector<engine::Request> catalogue = make_catalogue();
    HarnessOptions alone;
    alone.running_max = 1;
    alone.together = 1;
    alone.pages = kPages;
    const HarnessRun quiet = run_requests(model, catalogue, alone);
    const std::unique_ptr<engine::EngineCore> core = crowded_engine(model);
    const engine::EngineThread thread(*core);
    std::vector<std::unique_ptr<Visitor>> visitors;
    for (std::int32_t i = 0; i < kClients; ++i) {
      visitors.push_back(std::make_unique<Visitor>(*core, catalogue, quiet, static_cast<std::uint64_t>(i) + 1));
    }
    const Clock::time_point end = Clock::now() + std::chrono::milliseconds(static_cast<int>(load_seconds() * 500));
    do {  // rounds, with a pause after each
      const Clock::time_point pause = std::min(end, Clock::now() + std::chrono::seconds(3));
      std::vector<std::thread> threads;
      for (const std::unique_ptr<Visitor>& visitor : visitors) {
        threads.emplace_back([&visitor, pause] { visitor->visit(pause); });
      }
      std::for_each(threads.begin(), threads.end(), [](std::thread& each) { each.join(); });
      for (const std::unique_ptr<Visitor>& visitor : visitors) {
        REQUIRE(visitor->tally().wrong == "");
      }
      REQUIRE(check_rest(*core) == "");
    } while (Clock::now() < end);
    Tally sum;
    for (const std::unique_ptr<Visitor>& visitor : visitors) {
      sum.whole += visitor->tally().whole;
      sum.cut += visitor->tally().cut;
      sum.refused += visitor->tally().refused;
      sum.left += visitor->tally().left;
      sum.longest = std::max(sum.longest, visitor->tally().longest);
    }
    const engine::EngineStats stats = core->stats();
    WARN(sum.whole << " whole, " << sum.cut << " cut short, " << sum.left << " left, " << sum.refused << " refused, "
                   << stats.steps << " steps (the longest wait " << sum.longest << "), " << stats.preemptions
                   << " preemptions, " << stats.drafts.accepted << " accepted of " << stats.drafts.tokens
                   << " drafted");
    CHECK(sum.whole > 0);
    CHECK(sum.cut > 0);
    CHECK(stats.preemptions > 0);
    CHECK(stats.drafts.accepted > 0);
  }
}

}  // namespace coppice::testing
