// What requests read is the same to the bit alone, in a batch, in chunks, cold and warm, before and after preemption,
// in f32 and bf16.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "tests/support/fixture_model.h"
#include "tests/support/identity.h"
#include "tests/support/reading_requests.h"

namespace coppice::testing {
namespace {

using engine::Reading;

constexpr Reading kKinds[] = {Reading::kLabels, Reading::kLastHidden, Reading::kMeanHidden};

// The request's branches as requests of their own.
std::vector<engine::Request> apart(const engine::Request& request) {
  std::vector<engine::Request> requests;
  for (const engine::Branch& branch : request.branches) {
    engine::Request& one = requests.emplace_back(request);
    one.prompt.clear();
    one.branches = {branch};
    one.branches[0].tokens.insert(one.branches[0].tokens.begin(), request.prompt.begin(), request.prompt.end());
    one.choices = 1;
  }
  return requests;
}

}  // namespace

TEST_CASE("readings are the same to the bit alone, together, in chunks, cold, warm and preempted",
          "[identity][reading]") {
  for (const char* name : {"llama3", "mistral", "qwen3"}) {
    for (const kernels::ComputeType dtype : {kernels::ComputeType::kF32, kernels::ComputeType::kBF16}) {
      HarnessModel model = folder_model(tests::load_fixture_model(name).folder, dtype);
      const std::int32_t vocab = model.transformer->config().vocab;
      for (const Reading kind : kKinds) {
        INFO(name << " " << static_cast<int>(kind));
        const engine::Request request = reading_request(0, kind, 120, 24, vocab);
        const HarnessRun quiet = run_requests(model, apart(request), alone());
        const auto check = [&](const HarnessOptions& options, bool twice) {
          std::vector<engine::Request> requests = {request};
          if (twice) {
            requests.push_back(request);
          }
          HarnessOptions one_by_one = options;
          one_by_one.together = 1;
          const HarnessRun run = run_requests(model, requests, one_by_one);
          for (const auto& texts : run.texts) {
            for (std::size_t i = 0; i < texts.size(); ++i) {
              CHECK_FALSE(texts[i].reading.empty());
              CHECK(same_bits(texts[i], quiet.texts[i][0]));
            }
          }
          return run;
        };
        HarnessOptions options;
        options.running_max = 24;
        check(options, false);
        options.sharing = true;
        options.prefix_cache = true;
        const HarnessRun warm = check(options, true);
        CHECK(warm.texts[1][0].usage.cached_tokens == (kind == Reading::kMeanHidden ? 0 : 112));
        for (const std::int32_t chunk : {1, 7, 64}) {
          options.chunk_tokens_max = chunk;
          check(options, false);
        }
        options.chunk_tokens_max = 512;
        options.pages = 12;
        options.running_max = 8;
        check(options, true);
        model.steps_ahead = true;
        options.pages = 256;
        check(options, true);
        model.steps_ahead = false;
      }
    }
  }
}

TEST_CASE("embeddings are Hugging Face's hidden states, the last or their mean, in f32", "[parity][reading]") {
  for (const tests::FixtureModel& fixture : tests::load_fixture_models()) {
    INFO(fixture.name);
    HarnessModel model = folder_model(fixture.folder, kernels::ComputeType::kF32);
    std::vector<engine::Request> requests;
    for (const Reading kind : {Reading::kLastHidden, Reading::kMeanHidden}) {
      engine::Request& request = requests.emplace_back();
      request.sampling.max_tokens = 0;
      request.reading = kind;
      request.branches = {{fixture.prompt, {}}};
    }
    HarnessOptions options;
    options.chunk_tokens_max = 9;
    const HarnessRun run = run_requests(model, requests, options);
    const std::vector<float>& last = run.texts[0][0].reading;
    const std::vector<float>& mean = run.texts[1][0].reading;
    REQUIRE(last.size() == fixture.hidden.back().size());
    REQUIRE(mean.size() == last.size());
    for (std::size_t k = 0; k < last.size(); ++k) {
      double sum = 0;
      for (const std::vector<float>& state : fixture.hidden) {
        sum += state[k];
      }
      CHECK(std::abs(last[k] - fixture.hidden.back()[k]) <= 2e-4);
      CHECK(std::abs(mean[k] - sum / static_cast<double>(fixture.hidden.size())) <= 2e-4);
    }
  }
}

TEST_CASE("readings beside requests that generate change neither", "[identity][reading]") {
  HarnessModel model = folder_model(tests::load_fixture_model("llama3").folder, kernels::ComputeType::kBF16);
  const std::int32_t vocab = model.transformer->config().vocab;
  std::vector<engine::Request> requests = mixed_requests(vocab, 16);
  for (engine::Request& request : requests) {
    request.prompt.resize(std::min<std::size_t>(request.prompt.size(), 150));
  }
  std::size_t readings = 0;
  for (const Reading kind : kKinds) {
    requests.push_back(reading_request(0, kind, 60, 5, vocab));
    requests.push_back(reading_request(0, kind, 0, 4, vocab));
    readings += 2;
  }
  const HarnessRun quiet = run_requests(model, requests, alone());
  check_batches(model, requests, quiet, std::vector<std::int32_t>{3, 16});
  check_chunks(model, requests, quiet, std::vector<std::int32_t>{5, 512});
  CHECK(std::accumulate(quiet.texts.begin(), quiet.texts.end(), std::size_t{0},
                        [](std::size_t sum, const std::vector<ChoiceText>& texts) {
                          return sum + (texts[0].reading.empty() ? 0 : 1);
                        }) == readings);
}

}  // namespace coppice::testing
