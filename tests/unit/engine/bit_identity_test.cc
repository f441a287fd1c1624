// Same request, same answer, to the bit: the answers of requests run one by one, without cache, sharing or drafts, are
// the answers in any batch, any chunk size, any pool, with everything on. Greedy and sampled, f32 and bf16, with the KV
// cache in the same type or in 8 bits.
#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/identity.h"
#include "tests/support/source_folder.h"

namespace coppice::testing {
namespace {

models::ModelConfig tiny_config(std::int32_t window) {
  models::ModelConfig config;
  config.vocab = 320;
  config.hidden = 64;
  config.intermediate = 160;
  config.layers = 3;
  config.query_heads = 4;
  config.key_heads = 2;
  config.head_dim = 16;
  config.max_positions = 2048;
  config.rope.rotary_dim = 16;
  config.rope.attention_factor = 1.0;
  config.sliding_window = window;
  config.qk_norm = window == 0;
  config.eos = {7};
  return config;
}

void check_mixed(HarnessModel& model) {
  check_everything(model, mixed_requests(model.transformer->config().vocab, 32), 100);
}

}  // namespace

TEST_CASE("answers are the same to the bit in f32", "[identity]") {
  for (const std::int32_t window : {0, 40}) {
    HarnessModel model = random_model(tiny_config(window), kernels::ComputeType::kF32, 5);
    check_mixed(model);
  }
}

TEST_CASE("answers are the same to the bit in bf16", "[identity]") {
  for (const std::int32_t window : {0, 40}) {
    HarnessModel model = random_model(tiny_config(window), kernels::ComputeType::kBF16, 6);
    check_mixed(model);
  }
}

TEST_CASE("answers are the same to the bit with a KV cache in 8 bits", "[identity]") {
  constexpr kernels::KvFormat kInt8{kernels::KvKind::kInt8};
  HarnessModel windowed = random_model(tiny_config(40), kernels::ComputeType::kF32, 5, nullptr, kInt8);
  check_mixed(windowed);
  HarnessModel narrow = random_model(tiny_config(0), kernels::ComputeType::kBF16, 6, nullptr, kInt8);
  check_mixed(narrow);
}

TEST_CASE("recorded steps run again on another runner, when their engine is gone", "[identity]") {
  HarnessModel model = random_model(tiny_config(40), kernels::ComputeType::kF32, 5);
  std::vector<engine::Request> requests = mixed_requests(model.transformer->config().vocab, 32);
  for (const bool ahead : {false, true}) {
    std::vector<RecordedStep> steps;
    HarnessOptions options;
    options.prefix_cache = true;
    options.sharing = true;
    options.drafts = true;
    options.recording = &steps;
    model.steps_ahead = ahead;
    const HarnessRun run = run_requests(model, requests, options);
    for (std::size_t i = 0; i < requests.size(); ++i) {  // the next run drafts along these
      requests[i].prediction.clear();
      for (const engine::TokenInfo& info : run.texts[i][0].tokens) {
        requests[i].prediction.push_back(info.token);
      }
    }
    REQUIRE(steps.size() == run.stats.steps);
    CHECK(run_recorded(model, options, steps) == steps.size());
  }
}

TEST_CASE("answers of the demo model are the same to the bit", "[identity]") {
  const std::string folder = coppice::test::source_path("models/demo");
  if (!std::filesystem::exists(folder + "/config.json")) {
    WARN("no demo model in the tree");
    return;
  }
  HarnessModel model = folder_model(folder, kernels::ComputeType::kBF16);
  check_mixed(model);
}

}  // namespace coppice::testing
