// Whole models on the CUDA backend: as near to float32 as Hugging Face's own bfloat16, the CPU backend's greedy text,
// and the same bits alone, in a batch, in chunks and over shared prefixes.
#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "models/model_config.h"
#include "models/weights.h"
#include "nlohmann/json.hpp"
#include "tests/gpu/device.h"
#include "tests/support/fixture_model.h"
#include "tests/support/model_runner.h"

namespace coppice::tests {
namespace {

using kernels::ComputeType;
using Logits = std::vector<std::vector<float>>;

RunnerOptions on_device(RunnerOptions options, ComputeType dtype = ComputeType::kBF16) {
  options.dtype = dtype;
  options.open_backend = [] { return absl::StatusOr<std::unique_ptr<kernels::Backend>>(open_device()); };
  return options;
}

std::unique_ptr<ModelRunner> load_fixture(const FixtureModel& fixture, const RunnerOptions& options) {
  const auto config = models::load_model_config(fixture.folder);
  REQUIRE(config.ok());
  const auto source = models::open_safetensors_weights(fixture.folder, *config);
  REQUIRE(source.ok());
  auto runner = ModelRunner::make(*config, **source, options);
  INFO(runner.status().ToString());
  REQUIRE(runner.ok());
  return *std::move(runner);
}

double mean_difference(const Logits& a, const Logits& b) {
  double sum = 0.0;
  double count = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t token = 0; token < a[i].size(); ++token) {
      sum += static_cast<double>(std::abs(a[i][token] - b[i][token]));
      count += 1.0;
    }
  }
  return sum / count;
}

TEST_CASE("models of every family: no further from float32 than Hugging Face's bfloat16") {
  std::size_t turn = 0;
  for (const FixtureModel& fixture : load_fixture_models()) {
    if (device_is_emulated() && turn++ % 3 != 0) {
      continue;
    }
    INFO(fixture.name);
    const auto runner = load_fixture(fixture, on_device({}));
    const auto cpu = load_fixture(fixture, {.dtype = ComputeType::kBF16});
    const Logits logits = runner->feed(0, fixture.prompt, 64);
    const Logits expected = cpu->feed(0, fixture.prompt, 64);
    for (std::size_t i = 0; i < logits.size(); ++i) {
      // The CPU's greedy token, or one that the CPU holds as likely within what bfloat16 can tell.
      const auto chosen = static_cast<std::size_t>(greedy_token(logits[i]));
      const auto wanted = static_cast<std::size_t>(greedy_token(expected[i]));
      CHECK(expected[i][wanted] - expected[i][chosen] <= 0.06F * (1.0F + std::abs(expected[i][wanted])));
    }
    CHECK(mean_difference(logits, fixture.logits) <= 1.1 * fixture.bf16_mean_error);
    CHECK(device_report() == "");
  }
}

float largest_difference(const Logits& a, const Logits& b) {
  float largest = 0.0F;
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t token = 0; token < a[i].size(); ++token) {
      const float difference = std::abs(a[i][token] - b[i][token]);
      largest = difference <= largest ? largest : difference;  // a NaN stays
    }
  }
  return largest;
}

TEST_CASE("models of every family in f32: Hugging Face's logits and greedy text") {
  constexpr float kTolerance = 2e-4F;  // the CPU backend's (tests/parity)
  const std::size_t tokens = device_is_emulated() ? 3 : 64;
  for (const FixtureModel& fixture : load_fixture_models()) {
    INFO(fixture.name);
    const auto runner = load_fixture(fixture, on_device({}, ComputeType::kF32));
    const Logits logits = runner->feed(0, fixture.prompt, 64);
    REQUIRE(logits.size() == fixture.logits.size());
    CHECK(largest_difference(logits, fixture.logits) <= kTolerance);
    std::vector<TokenId> greedy = {greedy_token(logits.back())};
    while (greedy.size() < tokens) {
      greedy.push_back(greedy_token(runner->feed(0, std::span(&greedy.back(), 1), 1).front()));
    }
    CHECK(std::equal(greedy.begin(), greedy.end(), fixture.greedy.begin()));
    CHECK(device_report() == "");
  }
}

TEST_CASE("a model is computed with in the type that it is stored in") {
  const auto device = open_device();
  for (const ComputeType dtype : {ComputeType::kF32, ComputeType::kBF16, ComputeType::kF16}) {
    CHECK(device->device().supports(kernels::dense_packing(dtype)) == kernels::Support::kFull);
    const models::ComputeChoice choice = models::choose_compute(kernels::dense_format(dtype), device->device());
    CHECK(choice.type == dtype);
    CHECK(choice.note.empty());
  }
}

// Half has three bits more than bfloat16: an eighth of its error, where nothing leaves its range.
TEST_CASE("a model stored in f16 is computed with in f16") {
  const FixtureModel fixture = load_fixture_model("llama_yarn");
  const auto config = models::load_model_config(fixture.folder);
  REQUIRE(config.ok());
  const auto source = models::open_safetensors_weights(fixture.folder, *config);
  REQUIRE(source.ok());
  REQUIRE((*source)->stored_format() == kernels::WeightFormat{kernels::WeightKind::kF16});
  const models::ComputeChoice choice = models::choose_compute((*source)->stored_format(), open_device()->device());
  CHECK(choice.type == ComputeType::kF16);
  CHECK(choice.note.empty());
  const auto runner = load_fixture(fixture, on_device({}, choice.type));
  const Logits logits = runner->feed(0, fixture.prompt, 64);
  const double error = mean_difference(logits, fixture.logits);
  CHECK(error <= fixture.bf16_mean_error / 4);
  CHECK(error > 1e-6);  // it was not f32
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float best = fixture.logits[i][static_cast<std::size_t>(greedy_token(fixture.logits[i]))];
    CHECK(best - fixture.logits[i][static_cast<std::size_t>(greedy_token(logits[i]))] <= 0.01F);
  }
  CHECK(device_report() == "");
}

// The CPU multiplies activations of 8 bits with the same weights, so only near: nearer than the weights are to those of
// bfloat16.
TEST_CASE("a model quantised when it is loaded says what the CPU says with the same weights") {
  const FixtureModel fixture = load_fixture_model("llama_yarn");
  for (const kernels::WeightFormat storage :
       {kernels::WeightFormat{kernels::WeightKind::kInt8}, kernels::WeightFormat{kernels::WeightKind::kInt4, 32}}) {
    INFO(kernels::format_name(storage));
    const auto runner = load_fixture(fixture, on_device({.storage = storage}));
    const auto cpu = load_fixture(fixture, {.dtype = ComputeType::kBF16, .storage = storage});
    const Logits logits = runner->feed(0, fixture.prompt, 64);
    const Logits expected = cpu->feed(0, fixture.prompt, 64);
    const double moved = mean_difference(expected, fixture.logits);  // by the weights' few bits, mostly
    const double between = mean_difference(logits, expected);
    CHECK(moved > 0);
    CHECK(between <= (storage.kind == kernels::WeightKind::kInt4 ? 0.5 * moved : moved + 2 * fixture.bf16_mean_error));
    CHECK(mean_difference(logits, fixture.logits) <= 1.2 * moved + fixture.bf16_mean_error);
    CHECK(device_report() == "");
  }
}

models::ModelConfig make_config(const char* architecture, std::int32_t window, std::int32_t hidden = 160) {
  nlohmann::json config = {{"architectures", {architecture}}, {"vocab_size", 259},
                           {"hidden_size", hidden},           {"intermediate_size", 2 * hidden + 16},
                           {"num_hidden_layers", 2},          {"num_attention_heads", 5},
                           {"num_key_value_heads", 1},        {"head_dim", 32},
                           {"max_position_embeddings", 4096}, {"eos_token_id", 2}};
  if (window > 0) {
    config["sliding_window"] = window;
  }
  absl::StatusOr<models::ModelConfig> parsed = models::parse_model_config(config.dump());
  REQUIRE(parsed.ok());
  return *parsed;
}

std::vector<TokenId> random_tokens(std::uint32_t seed, std::int32_t count) {
  std::mt19937 generator(seed);
  std::vector<TokenId> tokens;
  for (std::int32_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<TokenId>(generator() % 259));
  }
  return tokens;
}

std::unique_ptr<ModelRunner> load_random(const models::ModelConfig& config, ComputeType dtype, RunnerOptions options,
                                         std::int32_t tokens) {
  options.sequence_tokens = tokens + 8;
  options.step_tokens = tokens;
  const auto source = models::make_random_weights(config, 11, ComputeType::kBF16);
  auto runner = ModelRunner::make(config, *source, on_device(options, dtype));
  INFO(runner.status().ToString());
  REQUIRE(runner.ok());
  return *std::move(runner);
}

// Past three splits of 128 keys on a GPU, past one on the emulator.
void check_bits(const models::ModelConfig& config, ComputeType dtype,
                std::optional<kernels::WeightFormat> storage = std::nullopt) {
  const std::int32_t count = device_is_emulated() ? 150 : 400;
  const std::int32_t shared = device_is_emulated() ? 144 : 304;
  const auto steps_end = static_cast<std::size_t>(device_is_emulated() ? 148 : 400);
  const std::vector<TokenId> tokens = random_tokens(1, count);
  const auto alone = load_random(config, dtype, {.storage = storage}, count);
  const Logits expected = alone->feed(0, tokens, count);
  REQUIRE(expected[10] != expected[11]);
  for (const std::int32_t chunk : {64, 17}) {
    if (device_is_emulated() && chunk != 64) {
      continue;
    }
    INFO("chunk " << chunk);
    alone->forget(0);
    CHECK((alone->feed(0, tokens, chunk) == expected));
  }
  for (const bool sharing : {true, false}) {
    if (device_is_emulated() && dtype == ComputeType::kF32 && !sharing) {
      continue;
    }
    INFO("sharing " << sharing);
    constexpr std::int32_t kSequences = 3;
    const auto batch =
        load_random(config, dtype, {.storage = storage, .sequences = kSequences, .sharing = sharing}, count);
    batch->feed(0, std::span(tokens).first(static_cast<std::size_t>(shared)), 64);
    for (std::int32_t sequence = 1; sequence < kSequences; ++sequence) {
      batch->share_prefix(0, sequence, shared);
    }
    for (auto i = static_cast<std::size_t>(shared); i < steps_end; ++i) {
      std::vector<RunnerRow> rows = {{0, {tokens[i]}}};
      for (std::int32_t sequence = 1; sequence < kSequences; ++sequence) {
        rows.push_back({sequence, {static_cast<TokenId>((tokens[i] + sequence) % 259)}});
      }
      const Logits step = batch->step(rows);
      CHECK((step.front() == expected[i]));
    }
  }
  CHECK(device_report() == "");
}

TEST_CASE("the same bits alone, in chunks, in a batch, shared or not") {
  check_bits(make_config("Qwen3ForCausalLM", 0), ComputeType::kBF16);
}

TEST_CASE("the same bits with weights in 4 bits") {
  check_bits(make_config("Qwen3ForCausalLM", 0), ComputeType::kBF16,
             kernels::WeightFormat{kernels::WeightKind::kInt4, 32});
}

TEST_CASE("the same bits with a sliding window") {
  check_bits(make_config("MistralForCausalLM", 100), ComputeType::kBF16);
}

TEST_CASE("the same bits in f32 and f16") {
  check_bits(make_config("Qwen3ForCausalLM", 0, device_is_emulated() ? 40 : 160), ComputeType::kF32);
  if (!device_is_emulated()) {
    check_bits(make_config("MistralForCausalLM", 100), ComputeType::kF16);
  }
}

}  // namespace
}  // namespace coppice::tests
