// Same request, same answer, to the bit: the answers of requests run one by one, without cache, sharing or drafts, are
// the answers in any batch, any chunk size, any pool, with everything on. Greedy and sampled, f32 and bf16.
#include <catch2/catch.hpp>
#include <filesystem>

#include "base/random.h"
#include "tests/support/engine_harness.h"

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

std::uint32_t draw(std::uint64_t index, std::uint32_t bound) {
  return base::philox4x32(77, index, 5)[0] % bound;
}

// 32 requests: shared and own prefixes, lengths 1 to 300, greedy and sampled, penalties, logprobs, n = 3.
std::vector<engine::Request> mixed_requests(std::int32_t vocab) {
  std::vector<engine::Request> requests;
  std::uint64_t draws = 0;
  const auto token = [&] { return static_cast<TokenId>(draw(++draws, static_cast<std::uint32_t>(vocab))); };
  std::vector<TokenId> common(150);
  std::generate(common.begin(), common.end(), token);
  for (std::int32_t i = 0; i < 32; ++i) {
    engine::Request request;
    if (i % 2 == 0) {
      request.prompt.assign(common.begin(), common.begin() + 20 + 10 * (i % 13));
    }
    const std::uint32_t own = i % 5 == 0 ? draw(++draws, 120) + 60 : draw(++draws, 20) + 1;
    for (std::uint32_t k = 0; k < own; ++k) {
      request.prompt.push_back(token());
    }
    request.sampling.max_tokens = 20 + static_cast<std::int32_t>(draw(++draws, 40));
    request.sampling.temperature = i % 3 == 0 ? 0.0F : 0.9F;
    request.sampling.top_p = i % 3 == 1 ? 0.95F : 1.0F;
    request.sampling.top_k = i % 4 == 1 ? 40 : 0;
    request.sampling.repetition_penalty = i % 4 == 2 ? 1.2F : 1.0F;
    request.sampling.frequency_penalty = i % 8 == 3 ? 0.4F : 0.0F;
    request.sampling.seed = 1000 + static_cast<std::uint64_t>(i);
    request.sampling.top_logprobs = 3;
    request.sampling.prompt_logprobs = i % 7 == 6 ? 1 : -1;
    request.choices = i % 8 == 5 ? 3 : 1;
    requests.push_back(std::move(request));
  }
  return requests;
}

void require_same(const HarnessRun& a, const HarnessRun& b) {
  REQUIRE(a.texts.size() == b.texts.size());
  for (std::size_t i = 0; i < a.texts.size(); ++i) {
    for (std::size_t choice = 0; choice < a.texts[i].size(); ++choice) {
      INFO("request " << i << " choice " << choice << " tokens " << a.texts[i][choice].tokens.size() << " and "
                      << b.texts[i][choice].tokens.size() << " " << b.texts[i][choice].error);
      REQUIRE(same_bits(a.texts[i][choice], b.texts[i][choice]));
    }
  }
}

HarnessOptions alone() {
  HarnessOptions options;
  options.running_max = 1;
  options.together = 1;
  return options;
}

void check_batches(HarnessModel& model, const std::vector<engine::Request>& requests, const HarnessRun& quiet) {
  for (const std::int32_t batch : {2, 7, 32}) {
    for (const bool sharing : {false, true}) {
      INFO("batch " << batch << " sharing " << sharing);
      HarnessOptions options;
      options.running_max = batch;
      options.sharing = sharing;
      options.prefix_cache = sharing;
      require_same(quiet, run_requests(model, requests, options));
    }
  }
}

void check_chunks(HarnessModel& model, const std::vector<engine::Request>& requests, const HarnessRun& quiet) {
  for (const std::int32_t chunk : {1, 16, 37, 512}) {
    INFO("chunk " << chunk);
    HarnessOptions options;
    options.chunk_tokens_max = chunk;
    options.sharing = true;
    options.prefix_cache = chunk != 16;
    require_same(quiet, run_requests(model, requests, options));
  }
}

void check_tiny_pool(HarnessModel& model, const std::vector<engine::Request>& requests, const HarnessRun& quiet) {
  HarnessOptions options;
  options.pages = 25;
  options.running_max = 16;
  options.sharing = true;
  for (const bool prefix_cache : {false, true}) {
    options.prefix_cache = prefix_cache;
    const HarnessRun crowded = run_requests(model, requests, options);
    CHECK(crowded.stats.preemptions > 0);
    require_same(quiet, crowded);
  }
}

void check_drafts(HarnessModel& model, std::vector<engine::Request> requests, const HarnessRun& quiet) {
  for (std::size_t i = 0; i < requests.size(); ++i) {
    for (const engine::TokenInfo& info : quiet.texts[i][0].tokens) {
      requests[i].prediction.push_back(info.token);
    }
  }
  HarnessOptions options;
  options.drafts = true;
  options.sharing = true;
  options.prefix_cache = true;
  options.step_logits_max = 128;
  const HarnessRun drafted = run_requests(model, requests, options);
  CHECK(drafted.stats.accepted_tokens > 100);
  require_same(quiet, drafted);
}

void check_everything(HarnessModel& model) {
  const std::vector<engine::Request> requests = mixed_requests(model.transformer->config().vocab);
  const HarnessRun quiet = run_requests(model, requests, alone());
  check_batches(model, requests, quiet);
  check_chunks(model, requests, quiet);
  check_tiny_pool(model, requests, quiet);
  check_drafts(model, requests, quiet);
}

}  // namespace

TEST_CASE("answers are the same to the bit in f32", "[identity]") {
  for (const std::int32_t window : {0, 40}) {
    HarnessModel model = random_model(tiny_config(window), kernels::DType::kF32, 5);
    check_everything(model);
  }
}

TEST_CASE("answers are the same to the bit in bf16", "[identity]") {
  for (const std::int32_t window : {0, 40}) {
    HarnessModel model = random_model(tiny_config(window), kernels::DType::kBF16, 6);
    check_everything(model);
  }
}

TEST_CASE("answers of the demo model are the same to the bit", "[identity]") {
  const std::string folder = COPPICE_SOURCE_DIR "/models/demo";
  if (!std::filesystem::exists(folder + "/config.json")) {
    WARN("no demo model in the tree");
    return;
  }
  HarnessModel model = folder_model(folder, kernels::DType::kBF16);
  check_everything(model);
}

}  // namespace coppice::testing
