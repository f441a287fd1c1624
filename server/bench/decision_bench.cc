// The three ways of asking, each on a new engine.
#include "server/bench/decision_bench.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace coppice::server {
namespace {

using Clock = std::chrono::steady_clock;
using Readings = std::vector<std::vector<float>>;

// Streams of random tokens: the state's, and from here on one for each question.
constexpr std::uint64_t kStateStream = 1;
constexpr std::uint64_t kQuestionStream = std::uint64_t{1} << 32U;

// `count` token ids that depend on (seed, stream) alone; the ids below 3 are left to special tokens.
std::vector<TokenId> random_tokens(std::int32_t count, std::int32_t vocab, std::uint64_t seed, std::uint64_t stream) {
  std::vector<TokenId> tokens;
  const auto range = static_cast<std::uint32_t>(std::max(1, vocab - 3));
  for (std::int32_t i = 0; i < count; ++i) {
    tokens.push_back(
        static_cast<TokenId>(3 + base::philox4x32(seed, static_cast<std::uint64_t>(i), stream)[0] % range));
  }
  return tokens;
}

engine::Request make_request(const DecisionBenchOptions& options, std::int32_t vocab) {
  engine::Request request;
  request.reading = engine::Reading::kLabels;
  request.sampling.max_tokens = 0;
  request.prompt = random_tokens(options.state_tokens, vocab, options.seed, kStateStream);
  for (std::int32_t i = 0; i < options.questions; ++i) {
    engine::Branch branch;
    branch.tokens =
        random_tokens(options.question_tokens, vocab, options.seed, kQuestionStream + static_cast<std::uint64_t>(i));
    for (std::int32_t label = 0; label < options.labels; ++label) {
      branch.labels.push_back((3 + label) % vocab);
    }
    request.branches.push_back(std::move(branch));
  }
  request.choices = options.questions;
  return request;
}

// The request's questions as requests of their own.
std::vector<engine::Request> apart(const engine::Request& all) {
  std::vector<engine::Request> requests;
  for (const engine::Branch& branch : all.branches) {
    engine::Request& one = requests.emplace_back(all);
    one.branches = {branch};
    one.choices = 1;
  }
  return requests;
}

// Runs the requests, all at once; `readings` in the order of the questions.
absl::StatusOr<DecisionBenchWay> run(std::vector<engine::Request> requests, LoadedModel& model, Readings& readings) {
  const auto queue = std::make_shared<engine::EventQueue>([] {});
  const engine::EngineStats before = model.engine->stats();
  const bool is_one = requests.size() == 1;
  const Clock::time_point begin = Clock::now();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].id = i + 1;
    requests[i].events = queue;
    if (!model.engine->submit(std::move(requests[i]))) {
      return absl::InvalidArgumentError("the questions do not fit the engine's queue");
    }
  }
  while (model.engine->step()) {
  }
  const double wall_s = std::chrono::duration<double>(Clock::now() - begin).count();
  for (engine::Event& event : queue->take()) {
    if (event.finish == engine::FinishReason::kError) {
      return event.fault == engine::Fault::kRequest ? absl::InvalidArgumentError(event.error)
                                                    : absl::InternalError(event.error);
    }
    const std::size_t question = is_one ? static_cast<std::size_t>(event.choice) : event.request - 1;
    readings[question] = std::move(event.reading);
  }
  const engine::EngineStats after = model.engine->stats();
  return DecisionBenchWay{wall_s, after.prompt_tokens_computed - before.prompt_tokens_computed,
                          after.kv_tokens_read - before.kv_tokens_read};
}

bool same_bits(const Readings& a, const Readings& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return !x.empty() && std::equal(x.begin(), x.end(), y.begin(), y.end(), [](float p, float q) {
      return std::bit_cast<std::uint32_t>(p) == std::bit_cast<std::uint32_t>(q);
    });
  });
}

}  // namespace

absl::StatusOr<DecisionBenchResult> run_decision_bench(const DecisionBenchOptions& options,
                                                       engine::EngineOptions engine, LoadedModel& model) {
  const engine::Request request = make_request(options, model.config.vocab);
  const auto questions = static_cast<std::size_t>(options.questions);
  DecisionBenchResult result;
  Readings unshared(questions);
  Readings separate(questions);
  Readings together(questions);
  engine.prefix_cache = false;
  engine.sharing = false;
  COPPICE_RETURN_IF_ERROR(remake_engine(model, engine));
  COPPICE_ASSIGN_OR_RETURN(result.unshared, run(apart(request), model, unshared));
  engine.prefix_cache = true;
  engine.sharing = true;
  COPPICE_RETURN_IF_ERROR(remake_engine(model, engine));
  COPPICE_ASSIGN_OR_RETURN(result.separate, run(apart(request), model, separate));
  COPPICE_RETURN_IF_ERROR(remake_engine(model, engine));
  COPPICE_ASSIGN_OR_RETURN(result.together, run({request}, model, together));
  result.has_same_bits = same_bits(unshared, together) && same_bits(separate, together);
  return result;
}

}  // namespace coppice::server
