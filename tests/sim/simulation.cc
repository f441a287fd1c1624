// The random world: arrivals, disturbances, and the judging of every answer against the oracle.
#include "tests/sim/simulation.h"

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <functional>
#include <string>

#include "engine/sampler.h"
#include "tests/support/scripted_speculator.h"

namespace coppice::testing {
namespace {

using engine::FinishReason;

bool same(const std::vector<engine::TokenInfo>& a, const std::vector<engine::TokenInfo>& b, std::size_t count) {
  return a.size() >= count && b.size() >= count &&
         std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(count), b.begin(),
                    [](const engine::TokenInfo& x, const engine::TokenInfo& y) {
                      return x.token == y.token && x.logprob == y.logprob &&
                             std::equal(x.top.begin(), x.top.end(), y.top.begin(), y.top.end(),
                                        [](const engine::TokenLogprob& p, const engine::TokenLogprob& q) {
                                          return p.token == q.token && p.logprob == q.logprob;
                                        });
                    });
}

// The same constraint, except that one of its calls fails: to begin it (0), or the n-th.
std::shared_ptr<const AutomatonSource> failing(const engine::ConstraintSource& sound, std::uint32_t call) {
  AutomatonOptions options = dynamic_cast<const AutomatonSource&>(sound).options();
  options.fails_to_begin = call == 0;
  options.call_fails_at = static_cast<std::int32_t>(call);
  return std::make_shared<const AutomatonSource>(std::move(options));
}

}  // namespace

engine::Limits small_limits() {
  engine::Limits limits;
  limits.page_size = 16;
  limits.pages = 40;
  limits.model_tokens_max = 40 * 16;
  limits.step_tokens_max = 48;
  limits.step_logits_max = 24;
  limits.running_max = 12;
  limits.queued_max = 64;
  limits.chunk_tokens_max = 48;
  return limits;
}

FakeModel model_of(const World& world) {
  FakeModel model;
  model.eos = {3};
  model.context = world.limits.model_tokens_max;
  model.broken_in = world.device.broken_in;
  return model;
}

FakeExecutor::Options executor_options(const World& world) {
  FakeExecutor::Options fake;
  fake.pages = world.limits.pages;
  fake.page_size = world.limits.page_size;
  fake.step_tokens_max = world.limits.step_tokens_max;
  fake.step_logits_max = world.limits.step_logits_max;
  fake.submit_fails_in = world.device.submit_fails_in;
  fake.collect_fails_in = world.device.collect_fails_in;
  fake.seed = world.seed;
  fake.asynchronous = world.device.asynchronous;
  fake.works_for = world.device.works_for;
  fake.device_ns = world.device.step_ns;
  return fake;
}

Simulation::Simulation(const World& world) : world_(world), model_(model_of(world)) {
  events_ = std::make_shared<engine::EventQueue>(nullptr);
  FakeExecutor::Options fake = executor_options(world);
  fake.meanwhile = [this] { meanwhile(); };
  engine::EngineParts parts;
  auto executor = std::make_unique<FakeExecutor>(model_, fake);
  executor_ = executor.get();
  parts.executor = std::move(executor);
  if (world.recording != nullptr) {
    parts.executor = std::make_unique<RecordingExecutor>(std::move(parts.executor), *world.recording);
  }
  if (world.drafts_in != 0) {
    parts.speculator = std::make_unique<ScriptedSpeculator>(world.seed, model_.vocab, world.drafts_in);
  }
  parts.clock = std::make_unique<TickingClock>(&now_, world.seed, world.device.tick_ns);
  parts.check_integrity = true;
  engine::EngineOptions options;
  options.prefix_cache = world.prefix_cache;
  models::ModelConfig config;
  config.vocab = model_.vocab;
  config.eos = model_.eos;
  engine_ = std::make_unique<engine::EngineCore>(world.limits, options, config, std::move(parts));
}

std::uint32_t Simulation::random(std::uint32_t bound) {
  return base::philox4x32(world_.seed, ++draws_, 0x3173)[0] % bound;
}

void Simulation::shape_sampling(engine::SamplingParameters& sampling) {
  sampling.temperature = random(2) == 0 ? 0.0F : 0.7F;
  sampling.max_tokens = static_cast<std::int32_t>(random(static_cast<std::uint32_t>(world_.output_max))) + 1;
  sampling.ignore_eos = random(4) == 0;
  if (random(4) == 0) {
    sampling.min_tokens = static_cast<std::int32_t>(random(static_cast<std::uint32_t>(sampling.max_tokens)));
  }
  if (random(4) == 0) {
    sampling.repetition_penalty = 1.1F;
    sampling.frequency_penalty = 0.5F;
  }
  if (random(8) == 0) {
    sampling.stop_tokens = {static_cast<TokenId>(random(50)), static_cast<TokenId>(random(50))};
  }
  if (random(8) == 0) {
    sampling.logit_bias = {{static_cast<TokenId>(random(50)), 2.5F}};
  }
  if (random(4) == 0) {
    sampling.top_logprobs = static_cast<std::int32_t>(random(4));
  }
  if (random(6) == 0) {
    sampling.prompt_logprobs = static_cast<std::int32_t>(random(3));
    sampling.max_tokens -= random(4) == 0 ? sampling.max_tokens : 0;
    sampling.min_tokens = std::min(sampling.min_tokens, sampling.max_tokens);
  }
  sampling.seed = (std::uint64_t{random(1U << 30)} << 32) | random(1U << 30);
}

// Turns the request into one that reads branches of its prompt, or of nothing.
void Simulation::make_reading(engine::Request& request) {
  constexpr engine::Reading kKinds[] = {engine::Reading::kLabels, engine::Reading::kLastHidden,
                                        engine::Reading::kMeanHidden};
  request.reading = kKinds[random(3)];
  request.sampling = {};
  request.sampling.max_tokens = 0;
  request.choices = 1 + static_cast<std::int32_t>(random(6));
  request.branches.resize(static_cast<std::size_t>(request.choices));
  const bool has_trunk = random(3) != 0;
  for (engine::Branch& branch : request.branches) {
    if (!has_trunk) {
      branch.tokens = request.prompt;
      branch.tokens.resize(1 + random(static_cast<std::uint32_t>(branch.tokens.size())));
    }
    for (std::uint32_t i = random(20); i > 0; --i) {
      branch.tokens.push_back(static_cast<TokenId>(random(50)));
    }
    for (std::uint32_t i = 1 + random(5); i > 0 && request.reading == engine::Reading::kLabels; --i) {
      branch.labels.push_back(static_cast<TokenId>(random(50)));
    }
  }
  if (!has_trunk) {
    request.prompt.clear();
  }
}

// Most keep one or two beginnings for some time; some write little, or neither read nor write.
void Simulation::shape_cache_use(engine::Request& request) {
  const auto size = static_cast<std::uint32_t>(request.prompt.size());
  engine::CacheUse& use = request.cache;
  if (random(4) == 0) {
    use.write_tokens = static_cast<std::int32_t>(random(size + 1));
  }
  if (random(8) == 0) {
    use.reads = false;
    use.write_tokens = 0;
  }
  const auto most = std::min(static_cast<std::uint32_t>(use.write_tokens), size);
  const std::uint32_t first = random(most + 1);
  for (const std::uint32_t tokens : {first, first + random(most - first + 1)}) {
    use.keeps.push_back({static_cast<std::int32_t>(tokens), std::chrono::milliseconds(1 + random(2000))});
  }
}

AutomatonOptions Simulation::random_automaton() {
  AutomatonOptions options;
  options.seed = random(1U << 30);
  options.length_min = static_cast<std::int32_t>(random(8));
  options.length_max = 1 + static_cast<std::int32_t>(random(static_cast<std::uint32_t>(world_.output_max)));
  options.forced_in = random(6);
  options.run = 1 + static_cast<std::int32_t>(random(12));
  options.free_in = random(10);
  return options;
}

engine::Request Simulation::make_request() {
  engine::Request request;
  request.id = ++submitted_;
  request.events = events_;
  if (world_.shares_in != 0 && !prompts_.empty() && random(world_.shares_in) == 0) {
    request.prompt = prompts_[random(static_cast<std::uint32_t>(prompts_.size()))];
    request.prompt.resize(std::min(request.prompt.size(), std::size_t{1} + random(200)));
  }
  const std::uint32_t more = random(static_cast<std::uint32_t>(world_.prompt_max)) + 1;
  for (std::uint32_t i = 0; i < more && request.prompt.size() < 400; ++i) {
    request.prompt.push_back(static_cast<TokenId>(random(50)));
  }
  request.tenant = random(4) == 0 ? "another" : "";
  request.choices =
      random(3) == 0 ? static_cast<std::int32_t>(random(static_cast<std::uint32_t>(world_.choices_max))) + 1 : 1;
  request.priority = static_cast<std::int32_t>(random(world_.priorities));
  shape_sampling(request.sampling);
  request.background = one_in(world_.background_in);
  if (world_.deadlines_in != 0 && random(world_.deadlines_in) == 0) {
    request.deadline = now_ + std::chrono::milliseconds(random(200));
  }
  const std::vector<TokenId> prompt = request.prompt;
  if (one_in(world_.readings_in)) {
    make_reading(request);
  } else if (one_in(world_.constraints.in)) {
    request.constraint = std::make_shared<const AutomatonSource>(random_automaton());
  }
  if (world_.drafts_in != 0 && request.reading == engine::Reading::kNone) {
    for (const engine::TokenInfo& info : direct_answer(request, *request.sampling.seed, model_).tokens) {
      request.prediction.push_back(random(8) == 0 ? static_cast<TokenId>(random(50)) : info.token);
    }
  }
  if (one_in(world_.keeps_in)) {
    shape_cache_use(request);
  }
  if (prompts_.size() < 32) {
    prompts_.push_back(prompt);
  } else {
    prompts_[random(32)] = prompt;
  }
  return request;
}

void Simulation::arrive() {
  for (std::uint32_t i = random(static_cast<std::uint32_t>(world_.arrivals_max) + 1);
       i > 0 && static_cast<std::int32_t>(clients_.size()) < world_.live_max &&
       submitted_ < static_cast<engine::RequestId>(world_.requests);
       --i) {
    Client client;
    client.request = make_request();
    client.seed = client.request.sampling.seed.value_or(0);
    client.choices_left = client.request.choices;
    client.outcomes.resize(static_cast<std::size_t>(client.request.choices));
    engine::Request request = client.request;
    if (request.constraint != nullptr && one_in(world_.constraints.failing_in)) {
      client.failing = true;
      request.constraint = failing(*client.request.constraint, random(60));
    }
    const engine::RequestId id = request.id;
    if (engine_->submit(std::move(request))) {
      clients_.emplace(id, std::move(client));
    } else {
      ++tally_.refused;
    }
  }
}

void Simulation::disturb() {
  now_ += std::chrono::milliseconds(1);
  if (!clients_.empty() && one_in(world_.cancels_in)) {
    auto client = clients_.begin();
    std::advance(client, random(static_cast<std::uint32_t>(clients_.size())));
    client->second.cancelled = true;
    const auto choice = static_cast<std::int32_t>(random(5)) - 1;
    engine_->cancel(client->first, choice);
  }
}

// While a step runs: the world does not wait for it.
void Simulation::meanwhile() {
  if (random(8) == 0) {
    arrive();
  }
  if (random(8) == 0) {
    disturb();
  }
}

void Simulation::take_events() {
  for (engine::Event& event : events_->take()) {
    write_log(event);
    const auto found = clients_.find(event.request);
    REQUIRE(found != clients_.end());
    Client& client = found->second;
    Outcome& outcome = client.outcomes[static_cast<std::size_t>(event.choice)];
    REQUIRE(outcome.finishes == 0);  // nothing comes after the end
    std::move(event.tokens.begin(), event.tokens.end(), std::back_inserter(outcome.answer.tokens));
    std::move(event.prompt.begin(), event.prompt.end(), std::back_inserter(outcome.answer.prompt));
    if (event.finish != FinishReason::kNone) {
      outcome.answer.reading = std::move(event.reading);
      outcome.answer.finish = event.finish;
      outcome.error = event.error;
      outcome.usage = event.usage;
      ++outcome.finishes;
      if (--client.choices_left == 0) {
        judge(found->first, client);
        clients_.erase(found);
      }
    }
  }
}

void Simulation::write_log(const engine::Event& event) {
  const auto write = [this](std::uint64_t word) {
    const auto mixed = base::philox4x32(log_, word, 0x106);
    log_ = (std::uint64_t{mixed[0]} << 32) | mixed[1];
  };
  const auto write_tokens = [&](const std::vector<engine::TokenInfo>& tokens) {
    write(tokens.size());
    for (const engine::TokenInfo& info : tokens) {
      write(static_cast<std::uint64_t>(info.token));
      write(std::bit_cast<std::uint32_t>(info.logprob));
    }
  };
  write(static_cast<std::uint64_t>(tally_.steps));
  write(event.request);
  write(static_cast<std::uint64_t>(event.choice));
  write_tokens(event.tokens);
  write_tokens(event.prompt);
  for (const float number : event.reading) {
    write(std::bit_cast<std::uint32_t>(number));
  }
  write(static_cast<std::uint64_t>(event.finish));
  write(std::hash<std::string>()(event.error));
  write(static_cast<std::uint64_t>(event.usage.cached_tokens));
  write(static_cast<std::uint64_t>(event.usage.drafted_tokens));
}

void Simulation::judge(engine::RequestId id, const Client& client) {
  INFO("world seed " << world_.seed << " request " << id << " n " << client.request.choices);
  for (std::int32_t choice = 0; choice < client.request.choices; ++choice) {
    judge_choice(client, choice);
  }
}

void Simulation::judge_choice(const Client& client, std::int32_t choice) {
  const Outcome& outcome = client.outcomes[static_cast<std::size_t>(choice)];
  const bool reads = client.request.reading != engine::Reading::kNone;
  const Answer truth = reads ? direct_reading(client.request, static_cast<std::size_t>(choice), model_)
                             : direct_answer(client.request, engine::choice_seed(client.seed, choice), model_);
  INFO("choice " << choice << " finish " << static_cast<int>(outcome.answer.finish) << " " << outcome.error);
  REQUIRE(outcome.usage.completion_tokens == static_cast<std::int32_t>(outcome.answer.tokens.size()));
  REQUIRE(same(outcome.answer.tokens, truth.tokens, outcome.answer.tokens.size()));
  const auto prompt_tokens =
      static_cast<std::int32_t>(client.request.prompt.size() +
                                (reads ? client.request.branches[static_cast<std::size_t>(choice)].tokens.size() : 0));
  const engine::CacheUse& use = client.request.cache;
  REQUIRE((use.reads || outcome.usage.cached_tokens == 0));
  REQUIRE(outcome.usage.cache_write_tokens <= std::min(use.write_tokens, prompt_tokens));
  REQUIRE(outcome.usage.cached_tokens + outcome.usage.cache_write_tokens <= prompt_tokens);
  switch (outcome.answer.finish) {
    case FinishReason::kStop:
    case FinishReason::kLength:
      REQUIRE(outcome.answer.finish == truth.finish);
      REQUIRE(outcome.answer.tokens.size() == truth.tokens.size());
      REQUIRE_FALSE((choice == 0 && truth.has_broken_prompt));
      REQUIRE(outcome.answer.reading == truth.reading);
      tally_.read += reads ? 1 : 0;
      if (choice == 0) {
        REQUIRE(outcome.answer.prompt.size() == truth.prompt.size());
        REQUIRE(same(outcome.answer.prompt, truth.prompt, truth.prompt.size()));
      }
      ++tally_.completed;
      return;
    case FinishReason::kCancelled:
      REQUIRE(client.cancelled);
      ++tally_.cut_short;
      return;
    case FinishReason::kDeadline:
      REQUIRE(client.request.deadline.has_value());
      REQUIRE(*client.request.deadline <= now_);
      ++tally_.cut_short;
      return;
    case FinishReason::kError:
    case FinishReason::kNone:
      if (outcome.error.find("not numbers") != std::string::npos) {
        const bool is_of_prompt = choice == 0 && truth.has_broken_prompt;
        REQUIRE((is_of_prompt ||
                 (truth.finish == FinishReason::kError && outcome.answer.tokens.size() == truth.tokens.size())));
        ++tally_.broken;
        return;
      }
      if (outcome.error.find("the constraint on the output failed") != std::string::npos) {
        REQUIRE(client.failing);
        ++tally_.unruly;
        return;
      }
      REQUIRE((world_.device.submit_fails_in != 0 || world_.device.collect_fails_in != 0));
      REQUIRE(outcome.error.find("the fake device") != std::string::npos);
      ++tally_.failed;
      return;
  }
}

Tally Simulation::run() {
  std::int64_t quiet = 0;  // steps since the last arrival
  while (submitted_ < static_cast<engine::RequestId>(world_.requests) || !clients_.empty()) {
    arrive();
    disturb();
    engine_->step();
    ++tally_.steps;
    take_events();
    quiet = submitted_ < static_cast<engine::RequestId>(world_.requests) ? 0 : quiet + 1;
    REQUIRE(quiet < 100000);  // no request starves
  }
  engine_->step();
  now_ += std::chrono::hours(1);
  REQUIRE_FALSE(engine_->step());
  const engine::EngineStats stats = engine_->stats();
  REQUIRE(stats.pages.free + stats.pages.cached == stats.pages.total);
  REQUIRE(stats.pages.kept == 0);  // their time is over
  REQUIRE(stats.running == 0);
  REQUIRE(stats.waiting == 0);
  return tally_;
}

}  // namespace coppice::testing
