// Same tokens, same logits, to the bit: alone, in a batch, in chunks, over a shared prefix, with any number of threads.
// The whole forward pass on the CPU backend, no engine.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "models/model_config.h"
#include "models/weights.h"
#include "tests/support/model_runner.h"

namespace coppice::tests {
namespace {

using kernels::ComputeType;
using Logits = std::vector<std::vector<float>>;

constexpr std::int32_t kTokens = 400;  // past three splits of 128 keys
constexpr std::int32_t kShared = 304;  // a prefix of whole pages that ends inside a split

// Large enough that the matrix product uses its wide tiles and several blocks.
models::ModelConfig make_config(const char* architecture, std::int32_t window) {
  nlohmann::json config = {{"architectures", {architecture}},
                           {"vocab_size", 259},
                           {"hidden_size", 160},
                           {"intermediate_size", 336},
                           {"num_hidden_layers", 3},
                           {"num_attention_heads", 5},
                           {"num_key_value_heads", 1},
                           {"head_dim", 32},
                           {"max_position_embeddings", 4096},
                           {"eos_token_id", 2}};
  if (window > 0) {
    config["sliding_window"] = window;
  }
  absl::StatusOr<models::ModelConfig> parsed = models::parse_model_config(config.dump());
  INFO(parsed.status().ToString());
  REQUIRE(parsed.ok());
  return *parsed;
}

std::unique_ptr<ModelRunner> make_runner(const models::ModelConfig& config, RunnerOptions options) {
  options.sequence_tokens = kTokens + 8;
  options.step_tokens = std::max(options.step_tokens, kTokens);
  const auto source = models::make_random_weights(config, 11, options.dtype);
  auto runner = ModelRunner::make(config, *source, options);
  INFO(runner.status().ToString());
  REQUIRE(runner.ok());
  return *std::move(runner);
}

std::vector<TokenId> random_tokens(std::uint32_t seed, std::int32_t count) {
  std::mt19937 generator(seed);
  std::vector<TokenId> tokens;
  for (std::int32_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<TokenId>(generator() % 259));
  }
  return tokens;
}

// Two sequences with the same first kShared tokens.
std::vector<TokenId> forked_tokens(std::uint32_t seed) {
  std::vector<TokenId> tokens = random_tokens(1, kShared);
  const std::vector<TokenId> rest = random_tokens(seed, kTokens - kShared);
  tokens.insert(tokens.end(), rest.begin(), rest.end());
  return tokens;
}

// One token of each sequence a step, from `begin` on; each sequence's logits.
std::vector<Logits> decode_together(ModelRunner& runner, const std::vector<std::vector<TokenId>>& tokens,
                                    std::size_t begin, std::size_t end) {
  std::vector<Logits> logits(tokens.size());
  for (std::size_t i = begin; i < end; ++i) {
    std::vector<RunnerRow> rows;
    for (std::size_t sequence = 0; sequence < tokens.size(); ++sequence) {
      rows.push_back({static_cast<std::int32_t>(sequence), {tokens[sequence][i]}});
    }
    const Logits step = runner.step(rows);
    for (std::size_t sequence = 0; sequence < tokens.size(); ++sequence) {
      logits[sequence].push_back(step[sequence]);
    }
  }
  return logits;
}

void check_model(const models::ModelConfig& config, ComputeType dtype, std::optional<kernels::KvFormat> kv = {}) {
  const std::vector<TokenId> tokens = forked_tokens(2);
  const auto alone = make_runner(config, {.dtype = dtype, .kv = kv, .threads = 1});
  const Logits expected = alone->feed(0, tokens, kTokens);
  // The model is not a constant: rows differ.
  REQUIRE(expected[10] != expected[11]);

  SECTION("chunks of 1, 16, 512") {
    for (const std::int32_t chunk : {1, 16, 512}) {
      INFO("chunk " << chunk);
      alone->forget(0);
      CHECK((alone->feed(0, tokens, chunk) == expected));
    }
  }
  SECTION("two threads, other pages") {
    const auto other = make_runner(config, {.dtype = dtype, .kv = kv, .threads = 2, .page_size = 32, .sequences = 3});
    CHECK((other->feed(1, tokens, 64) == expected));
  }
  SECTION("beside others in a batch, sharing on and off") {
    for (const bool sharing : {true, false}) {
      INFO("sharing " << sharing);
      const auto batch =
          make_runner(config, {.dtype = dtype, .kv = kv, .threads = 2, .sequences = 7, .sharing = sharing});
      std::vector<std::vector<TokenId>> all = {tokens};
      batch->feed(0, std::span(tokens).first(kShared), 64);
      for (std::uint32_t sequence = 1; sequence < 7; ++sequence) {
        all.push_back(forked_tokens(sequence + 2));
        batch->share_prefix(0, static_cast<std::int32_t>(sequence), kShared);
      }
      const std::vector<Logits> together = decode_together(*batch, all, kShared, kTokens);
      CHECK(std::equal(together[0].begin(), together[0].end(), expected.begin() + kShared, expected.end()));
      // Another member of the batch, alone.
      alone->forget(0);
      const Logits expected_last = alone->feed(0, all[6], kTokens);
      CHECK(std::equal(together[6].begin(), together[6].end(), expected_last.begin() + kShared, expected_last.end()));
    }
  }
  SECTION("a prompt chunk beside decoding rows") {
    const auto mixed = make_runner(config, {.dtype = dtype, .kv = kv, .threads = 2, .sequences = 2});
    const std::vector<TokenId> second = random_tokens(9, kTokens);
    constexpr std::size_t kBefore = 334;
    constexpr std::size_t kChunk = 6;
    Logits first_logits = mixed->feed(0, std::span(tokens).first(kBefore), kTokens);
    for (std::size_t i = kBefore; i < tokens.size(); ++i) {
      const std::size_t begin = (i - kBefore) * kChunk;
      const std::vector<TokenId> chunk(second.begin() + static_cast<std::ptrdiff_t>(begin),
                                       second.begin() + static_cast<std::ptrdiff_t>(begin + kChunk));
      const std::vector<RunnerRow> rows = {{0, {tokens[i]}}, {1, chunk}};
      first_logits.push_back(mixed->step(rows).front());
    }
    CHECK((first_logits == expected));
  }
}

TEST_CASE("determinism: f32") {
  check_model(make_config("LlamaForCausalLM", 0), ComputeType::kF32);
}

TEST_CASE("determinism: bf16") {
  check_model(make_config("Qwen3ForCausalLM", 0), ComputeType::kBF16);
}

TEST_CASE("determinism: sliding window, bf16") {
  check_model(make_config("MistralForCausalLM", 200), ComputeType::kBF16);
}

TEST_CASE("determinism: sliding window, bf16 with a KV cache in 8 bits") {
  check_model(make_config("MistralForCausalLM", 200), ComputeType::kBF16, kernels::KvFormat{kernels::KvKind::kInt8});
}

}  // namespace
}  // namespace coppice::tests
