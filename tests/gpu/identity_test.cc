// Same request, same answer, to the bit, through the whole engine on the CUDA backend: alone, in batches, with sharing,
// in chunks, preempted, with drafts, constrained. Tokens, logprobs, top lists and finish reasons are compared.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/gpu/device.h"
#include "tests/support/identity.h"
#include "tests/support/reading_requests.h"

namespace coppice::tests {
namespace {

using testing::HarnessModel;
using testing::HarnessRun;

models::ModelConfig make_config(std::int32_t window) {
  models::ModelConfig config;
  const bool small = device_is_emulated();
  config.vocab = 320;
  config.hidden = small ? 64 : 256;
  config.intermediate = small ? 64 : 640;
  config.layers = small ? 1 : 4;
  config.query_heads = small ? 2 : 8;
  config.key_heads = small ? 1 : 2;
  config.head_dim = small ? 16 : 64;
  config.max_positions = 2048;
  config.rope.rotary_dim = config.head_dim;
  config.rope.attention_factor = 1.0;
  config.sliding_window = window;
  config.qk_norm = window == 0;
  config.eos = {7};
  return config;
}

// The emulator is slow: few requests, short ones, one of them past a split of 128 keys.
void shorten(std::vector<engine::Request>& requests) {
  for (std::size_t i = 0; device_is_emulated() && i < requests.size(); ++i) {
    requests[i].prompt.resize(std::min<std::size_t>(requests[i].prompt.size(), i == 0 ? 134 : 24));
    requests[i].sampling.max_tokens = i == 0 ? 3 : 5;
    requests[i].sampling.min_tokens = std::min(requests[i].sampling.min_tokens, requests[i].sampling.max_tokens);
    requests[i].choices = std::min(requests[i].choices, 2);
  }
}

std::vector<engine::Request> requests_for(const HarnessModel& model) {
  std::vector<engine::Request> requests =
      testing::mixed_requests(model.transformer->config().vocab, device_is_emulated() ? 6 : 32);
  shorten(requests);
  for (const engine::Reading kind :
       {engine::Reading::kLabels, engine::Reading::kLastHidden, engine::Reading::kMeanHidden}) {
    requests.push_back(testing::reading_request(0, kind, device_is_emulated() ? 20 : 100, device_is_emulated() ? 2 : 12,
                                                model.transformer->config().vocab));
  }
  return requests;
}

HarnessRun check_everything(HarnessModel& model, const std::vector<engine::Request>& requests) {
  const bool small = device_is_emulated();
  const HarnessRun quiet = testing::run_requests(model, requests, testing::alone());
  REQUIRE(quiet.texts[0][0].tokens.size() >= 1);
  CHECK(quiet.texts[0][0].error == "");
  testing::check_batches(model, requests, quiet, small ? std::vector{6} : std::vector{2, 7, 32});
  testing::check_chunks(model, requests, quiet, small ? std::vector{16} : std::vector{1, 16, 37, 512});
  if (!small) {  // needs longer requests than these
    testing::check_tiny_pool(model, requests, quiet, 25);
  }
  testing::check_drafts(model, requests, quiet, small ? 2 : 100);
  CHECK(device_report() == "");
  return quiet;
}

TEST_CASE("answers of a random model are the same to the bit", "[identity]") {
  HarnessModel model = testing::random_model(make_config(0), kernels::ComputeType::kBF16, 6, open_device());
  check_everything(model, requests_for(model));
}

TEST_CASE("answers of a random model with a sliding window are the same to the bit", "[identity]") {
  HarnessModel model = testing::random_model(make_config(40), kernels::ComputeType::kF16, 6, open_device());
  check_everything(model, requests_for(model));
}

TEST_CASE("answers of a random model in f32 are the same to the bit", "[identity]") {
  HarnessModel model = testing::random_model(make_config(0), kernels::ComputeType::kF32, 6, open_device());
  check_everything(model, requests_for(model));
}

TEST_CASE("constrained answers are the same to the bit, and what is allowed", "[identity][constraint]") {
  HarnessModel model = testing::random_model(make_config(0), kernels::ComputeType::kBF16, 6, open_device());
  const models::ModelConfig& config = model.transformer->config();
  std::vector<engine::Request> requests =
      testing::constrained_requests(config.vocab, config.eos, device_is_emulated() ? 8 : 32);
  shorten(requests);
  const HarnessRun quiet = check_everything(model, requests);
  testing::require_allowed(quiet, requests);
  CHECK(quiet.stats.constraints.masks > (device_is_emulated() ? 10 : 300));
}

}  // namespace
}  // namespace coppice::tests
