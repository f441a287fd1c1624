// Steps that are recorded and played (kernels/cuda/step/graphs.h): the same bits as launch by launch, whatever steps
// follow one another, when memory grows, when recordings make room for others, when none can be made; and, once under
// way, no allocation.
#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "models/model_config.h"
#include "models/weights.h"
#include "nlohmann/json.hpp"
#include "tests/gpu/device.h"
#include "tests/support/engine_harness.h"
#include "tests/support/model_runner.h"
#include "tests/support/token_automaton.h"

namespace coppice::tests {
namespace {

using kernels::ComputeType;
using kernels::StepCounts;
using Logits = std::vector<std::vector<float>>;

constexpr std::int32_t kVocab = 67;
constexpr std::int32_t kSequences = 6;
constexpr std::int32_t kShared = 144;  // a split of 128 keys and a page

models::ModelConfig small_config() {
  const nlohmann::json config = {{"architectures", {"LlamaForCausalLM"}},
                                 {"vocab_size", kVocab},
                                 {"hidden_size", 64},
                                 {"intermediate_size", 96},
                                 {"num_hidden_layers", 2},
                                 {"num_attention_heads", 4},
                                 {"num_key_value_heads", 2},
                                 {"head_dim", 16},
                                 {"max_position_embeddings", 4096},
                                 {"eos_token_id", 2}};
  absl::StatusOr<models::ModelConfig> parsed = models::parse_model_config(config.dump());
  REQUIRE(parsed.ok());
  return *parsed;
}

// Six sequences over one shared prefix.
std::unique_ptr<ModelRunner> load_shared(const kernels::cuda::CudaOptions& device, RunnerOptions options = {}) {
  const models::ModelConfig config = small_config();
  options.dtype = ComputeType::kBF16;
  options.sequences = kSequences;
  options.sequence_tokens = 400;
  options.open_backend = [device] {
    return absl::StatusOr<std::unique_ptr<kernels::Backend>>(open_device_with(device));
  };
  const auto source = models::make_random_weights(config, 5, ComputeType::kBF16);
  auto runner = ModelRunner::make(config, *source, options);
  INFO(runner.status().ToString());
  REQUIRE(runner.ok());
  std::vector<TokenId> prefix;
  for (std::int32_t i = 0; i < kShared; ++i) {
    prefix.push_back(i * 7 % kVocab);
  }
  (*runner)->feed(0, prefix, 48);
  for (std::int32_t sequence = 1; sequence < kSequences; ++sequence) {
    (*runner)->share_prefix(0, sequence, kShared);
  }
  return *std::move(runner);
}

// One token of each of the first `count` sequences.
std::vector<RunnerRow> decode(std::int32_t count, std::int32_t turn) {
  std::vector<RunnerRow> rows;
  for (std::int32_t sequence = 0; sequence < count; ++sequence) {
    rows.push_back({sequence, {(turn * 5 + sequence) % kVocab}});
  }
  return rows;
}

// Decoding of some sequences, chunks of others, with as many logits as it happens.
std::vector<RunnerRow> random_rows(std::mt19937& random) {
  std::vector<RunnerRow> rows;
  for (std::int32_t sequence = 0; sequence < kSequences; ++sequence) {
    if (random() % 2 != 0) {
      continue;
    }
    RunnerRow row{sequence, {}};
    const std::size_t count = random() % 4 == 0 ? 1 + random() % 7 : 1;
    for (std::size_t i = 0; i < count; ++i) {
      row.tokens.push_back(static_cast<TokenId>(random() % kVocab));
    }
    row.logits = random() % 3 == 0 ? static_cast<std::int32_t>(random() % (count + 1)) : 1;
    row.hidden = random() % 3 == 0 ? static_cast<std::int32_t>(random() % (count + 1)) : 0;
    rows.push_back(row);
  }
  return rows.empty() ? decode(1, 3) : rows;
}

TEST_CASE("recorded steps have the bits of those that are not, whatever follows what") {
  const auto direct = load_shared({.graphs = 0});
  const auto recorded = load_shared({});
  const StepCounts before = recorded->backend().steps().counts();
  std::mt19937 random(8);
  const int steps = device_is_emulated() ? 40 : 150;
  for (int i = 0; i < steps; ++i) {
    INFO("step " << i);
    const std::vector<RunnerRow> rows = random_rows(random);
    CHECK((recorded->step(rows) == direct->step(rows)));
    CHECK((recorded->hidden_states() == direct->hidden_states()));
  }
  const StepCounts counts = recorded->backend().steps().counts();
  CHECK(counts.trouble == "");
  CHECK(counts.grown == 0);
  CHECK(counts.played - before.played >= static_cast<std::uint64_t>(steps / 3));
  CHECK(counts.played + counts.direct - before.played - before.direct == static_cast<std::uint64_t>(steps));
  CHECK(counts.recorded > 3);
  CHECK(direct->backend().steps().counts().recorded + direct->backend().steps().counts().played == 0);
  CHECK(device_report() == "");
}

TEST_CASE("a prepared step is the same step, whatever is uploaded before it runs") {
  const auto whole = load_shared({});
  std::unique_ptr<ModelRunner> prepared;
  std::mt19937 random(9);
  std::mt19937 disturbance(10);
  kernels::Buffer scratch;
  const auto after_prepare = [&] {
    if (prepared != nullptr && disturbance() % 3 == 0) {
      const std::vector<std::int32_t> rubbish(4096, 5);
      prepared->backend().device().upload(rubbish.data(), scratch.data(), rubbish.size() * sizeof(std::int32_t));
    }
  };
  prepared = load_shared({}, {.after_prepare = after_prepare});
  absl::StatusOr<kernels::Buffer> memory = prepared->backend().device().allocate(4096 * sizeof(std::int32_t));
  REQUIRE(memory.ok());
  scratch = *std::move(memory);
  for (int i = 0; i < (device_is_emulated() ? 30 : 100); ++i) {
    INFO("step " << i);
    const std::vector<RunnerRow> rows = random_rows(random);
    CHECK((prepared->step(rows) == whole->step(rows)));
    CHECK((prepared->hidden_states() == whole->hidden_states()));
  }
  CHECK(device_report() == "");
}

TEST_CASE("the recording that was used longest ago makes room, and is made anew") {
  const auto direct = load_shared({.graphs = 0});
  const auto recorded = load_shared({.graphs = 2});
  const StepCounts before = recorded->backend().steps().counts();
  std::int32_t turn = 0;
  for (const std::int32_t rows : {1, 1, 1, 2, 2, 2, 4, 4, 4, 1, 1, 1}) {
    ++turn;
    CHECK((recorded->step(decode(rows, turn)) == direct->step(decode(rows, turn))));
  }
  const StepCounts counts = recorded->backend().steps().counts();
  CHECK(counts.direct - before.direct == 4);
  CHECK(counts.recorded - before.recorded == 4);
  CHECK(counts.played - before.played == 8);
  CHECK(counts.dropped - before.dropped >= 2);
  CHECK(device_report() == "");
}

TEST_CASE("a step larger than was reserved takes memory, and what was recorded is recorded anew") {
  const auto direct = load_shared({.graphs = 0}, {.step_tokens = 96});
  const auto recorded = load_shared({}, {.step_tokens = 96, .reserved_tokens = 1});
  StepCounts counts = recorded->backend().steps().counts();
  const auto check_decode = [&](std::int32_t turn) {
    CHECK((recorded->step(decode(2, turn)) == direct->step(decode(2, turn))));
    counts = recorded->backend().steps().counts();
  };
  for (std::int32_t turn = 0; turn < 3; ++turn) {
    check_decode(turn);
  }
  const StepCounts before = counts;
  CHECK(before.played >= 2);
  std::vector<RunnerRow> chunks = decode(kSequences, 9);
  for (RunnerRow& row : chunks) {
    row.tokens.resize(16, 1);
  }
  CHECK((recorded->step(chunks) == direct->step(chunks)));
  check_decode(20);
  CHECK(counts.grown == before.grown + 1);
  CHECK(counts.dropped > before.dropped);
  CHECK(counts.recorded == before.recorded);
  check_decode(21);
  CHECK(counts.recorded == before.recorded + 1);
  CHECK(counts.grown == before.grown + 1);
  CHECK(counts.trouble == "");
  CHECK(device_report() == "");
}

TEST_CASE("a device that cannot record runs its steps all the same, and says why once") {
  const auto direct = load_shared({.graphs = 0});
  if (!refuse_recordings(true)) {
    return;
  }
  const auto refused = load_shared({});
  for (std::int32_t turn = 0; turn < 5; ++turn) {
    CHECK((refused->step(decode(3, turn)) == direct->step(decode(3, turn))));
  }
  refuse_recordings(false);
  const StepCounts counts = refused->backend().steps().counts();
  CHECK_THAT(counts.trouble, Catch::Contains("steps are not recorded: "));
  CHECK(counts.played == 0);
  CHECK(device_report() == "");
}

// Prompts with a common beginning, sampled in different ways, most of them constrained, each in its own way.
std::vector<engine::Request> engine_requests() {
  std::vector<engine::Request> requests(5);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    engine::Request& request = requests[i];
    for (std::int32_t token = 0; token < kShared; ++token) {
      request.prompt.push_back(token * 11 % kVocab);
    }
    for (std::size_t token = 0; token <= i; ++token) {
      request.prompt.push_back(static_cast<TokenId>((token * 3 + i) % kVocab));
    }
    request.sampling.max_tokens = 10 + static_cast<std::int32_t>(i);
    request.sampling.ignore_eos = true;
    request.sampling.temperature = i % 2 == 0 ? 0.0F : 0.9F;
    request.sampling.seed = 40 + i;
    request.sampling.repetition_penalty = i == 2 ? 1.3F : 1.0F;
    request.sampling.top_logprobs = i == 3 ? 4 : -1;
    if (i != 0) {
      testing::AutomatonOptions options;
      options.seed = 60 + i;
      options.vocab = kVocab;
      options.ends = small_config().eos;
      options.free_in = i == 1 ? 2 : 0;
      request.constraint = std::make_shared<const testing::AutomatonSource>(std::move(options));
    }
  }
  return requests;
}

TEST_CASE("the engine: chunks, shared prefixes, drafts and masks, recorded or not, say the same and allocate nothing") {
  using testing::HarnessModel;
  using testing::HarnessOptions;
  using testing::HarnessRun;
  std::vector<engine::Request> requests = engine_requests();
  HarnessModel direct = testing::random_model(small_config(), ComputeType::kBF16, 3, open_device_with({.graphs = 0}));
  HarnessModel recorded = testing::random_model(small_config(), ComputeType::kBF16, 3, open_device());
  HarnessOptions plain;
  plain.chunk_tokens_max = 40;
  plain.step_tokens_max = 64;
  const HarnessRun expected = testing::run_requests(direct, requests, plain);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    REQUIRE(expected.texts[i][0].error == "");
    for (const engine::TokenInfo& info : expected.texts[i][0].tokens) {
      requests[i].prediction.push_back(info.token);
    }
  }
  std::vector<std::int64_t> allocations;
  HarnessOptions all = plain;
  all.prefix_cache = true;
  all.sharing = true;
  all.drafts = true;
  all.after_step = [&] { allocations.push_back(device_allocations()); };
  const HarnessRun run = testing::run_requests(recorded, requests, all);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    INFO("request " << i);
    CHECK(testing::same_bits(run.texts[i][0], expected.texts[i][0]));
  }
  CHECK(run.stats.drafts.accepted > 0);
  CHECK(run.stats.constraints.masks > run.stats.steps);  // of several rows, and of draft nodes
  CHECK(run.stats.constraints.forced_accepted > 0);
  CHECK(run.stats.kv_tokens_read < run.stats.kv_tokens_attended);
  const StepCounts counts = recorded.backend->steps().counts();
  CHECK(counts.trouble == "");
  CHECK(counts.grown == 0);
  CHECK(counts.played > 0);
  CHECK(run.stats.times.device_ns > 0);
  REQUIRE(allocations.size() > 8);
  CHECK(allocations[1] == allocations.back());  // the first step brings the model's rotation frequencies
  CHECK(device_report() == "");
}

}  // namespace
}  // namespace coppice::tests
