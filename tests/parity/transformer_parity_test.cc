// The Transformer on the CPU backend against Hugging Face transformers, for a tiny model of every family: float32
// within 2e-4 on every logit and hidden state, and the same greedy text; bfloat16 nearer to float32 than transformers'
// own bfloat16 is.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "models/model_config.h"
#include "models/weights.h"
#include "tests/support/fixture_model.h"
#include "tests/support/model_runner.h"

namespace coppice::tests {
namespace {

constexpr float kLogitTolerance = 2e-4F;

struct LoadedRunner {
  models::ModelConfig config;
  std::unique_ptr<ModelRunner> runner;
};

LoadedRunner load_runner(const FixtureModel& fixture, const RunnerOptions& options) {
  const auto config = models::load_model_config(fixture.folder);
  INFO(config.status().ToString());
  REQUIRE(config.ok());
  const auto source = models::open_safetensors_weights(fixture.folder, *config);
  INFO(source.status().ToString());
  REQUIRE(source.ok());
  auto runner = ModelRunner::make(*config, **source, options);
  INFO(runner.status().ToString());
  REQUIRE(runner.ok());
  return {*config, *std::move(runner)};
}

TEST_CASE("transformer, f32: logits and greedy text of every family are Hugging Face's") {
  for (const FixtureModel& fixture : load_fixture_models()) {
    INFO(fixture.name);
    const LoadedRunner loaded = load_runner(fixture, {});
    const auto logits = loaded.runner->feed(0, fixture.prompt, 64);
    REQUIRE(logits.size() == fixture.logits.size());
    float worst = 0.0F;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      REQUIRE(logits[i].size() == fixture.logits[i].size());
      for (std::size_t token = 0; token < logits[i].size(); ++token) {
        worst = std::max(worst, std::abs(logits[i][token] - fixture.logits[i][token]));
      }
    }
    CHECK(worst <= kLogitTolerance);
    std::vector<TokenId> greedy = {greedy_token(logits.back())};
    while (greedy.size() < fixture.greedy.size()) {
      greedy.push_back(greedy_token(loaded.runner->feed(0, std::span(&greedy.back(), 1), 1).front()));
    }
    CHECK(greedy == fixture.greedy);
  }
}

TEST_CASE("transformer, f32: final hidden states of every family are Hugging Face's") {
  for (const FixtureModel& fixture : load_fixture_models()) {
    INFO(fixture.name);
    const LoadedRunner loaded = load_runner(fixture, {});
    const auto count = static_cast<std::int32_t>(fixture.prompt.size());
    const RunnerRow row{0, fixture.prompt, 0, count};
    CHECK(loaded.runner->step(std::span(&row, 1)).empty());
    const std::vector<std::vector<float>>& hidden = loaded.runner->hidden_states();
    REQUIRE(hidden.size() == fixture.hidden.size());
    float worst = 0.0F;
    for (std::size_t i = 0; i < hidden.size(); ++i) {
      REQUIRE(hidden[i].size() == fixture.hidden[i].size());
      for (std::size_t k = 0; k < hidden[i].size(); ++k) {
        worst = std::max(worst, std::abs(hidden[i][k] - fixture.hidden[i][k]));
      }
    }
    CHECK(worst <= kLogitTolerance);
    CHECK(worst > 0.0F);
  }
}

double mean_error(const FixtureModel& fixture, const RunnerOptions& options) {
  const LoadedRunner loaded = load_runner(fixture, options);
  const auto logits = loaded.runner->feed(0, fixture.prompt, 64);
  double sum = 0.0;
  double count = 0.0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    for (std::size_t token = 0; token < logits[i].size(); ++token) {
      sum += static_cast<double>(std::abs(logits[i][token] - fixture.logits[i][token]));
      count += 1.0;
    }
  }
  return sum / count;
}

TEST_CASE("transformer, bf16: no further from float32 than Hugging Face's bfloat16") {
  for (const FixtureModel& fixture : load_fixture_models()) {
    INFO(fixture.name);
    const double error = mean_error(fixture, {.dtype = kernels::ComputeType::kBF16});
    CHECK(error <= fixture.bf16_mean_error);
    CHECK(error > 1e-4);  // it was bfloat16
  }
}

TEST_CASE("transformer: a KV cache of another type than the weights costs no more than bfloat16 throughout") {
  for (const FixtureModel& fixture : load_fixture_models()) {
    INFO(fixture.name);
    const double f32_cache =
        mean_error(fixture, {.dtype = kernels::ComputeType::kBF16, .kv = kernels::KvFormat{kernels::KvKind::kF32}});
    CHECK(f32_cache <= fixture.bf16_mean_error);
    CHECK(f32_cache > 1e-4);  // weights and activations were bfloat16
    const double bf16_cache =
        mean_error(fixture, {.dtype = kernels::ComputeType::kF32, .kv = kernels::KvFormat{kernels::KvKind::kBF16}});
    CHECK(bf16_cache <= fixture.bf16_mean_error);
    CHECK(bf16_cache > 1e-6);  // the cache was bfloat16
    const double int8_cache =
        mean_error(fixture, {.dtype = kernels::ComputeType::kF32, .kv = kernels::KvFormat{kernels::KvKind::kInt8}});
    CHECK(int8_cache <= fixture.bf16_mean_error);
    CHECK(int8_cache > 1e-6);  // the cache had 8 bits
  }
}

}  // namespace
}  // namespace coppice::tests
