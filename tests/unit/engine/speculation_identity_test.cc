// Speculation changes nothing but speed: 200 random requests with every sampling feature, alone and mixed, give the
// same tokens and logprobs, to the bit, with suffix drafts on and off.
#include <catch2/catch.hpp>

#include "base/random.h"
#include "tests/support/engine_harness.h"

namespace coppice::testing {
namespace {

class Draws {
 public:
  explicit Draws(std::uint64_t seed) : seed_(seed) {}
  std::int32_t below(std::int32_t bound) {
    return static_cast<std::int32_t>(base::philox4x32(seed_, ++count_, 9)[0] % static_cast<std::uint32_t>(bound));
  }
  bool one_in(std::int32_t n) { return below(n) == 0; }
  float between(float least, float most) { return least + (most - least) * static_cast<float>(below(1000)) / 1000.0F; }

 private:
  const std::uint64_t seed_;
  std::uint64_t count_ = 0;
};

void choose_sampling(Draws& draws, std::int32_t vocab, engine::SamplingParameters& sampling) {
  sampling.max_tokens = 1 + draws.below(60);
  sampling.temperature = draws.one_in(3) ? 0.0F : draws.between(0.1F, 1.3F);
  sampling.top_k = draws.one_in(4) ? 1 + draws.below(50) : 0;
  sampling.top_p = draws.one_in(4) ? draws.between(0.5F, 1.0F) : 1.0F;
  sampling.min_p = draws.one_in(5) ? draws.between(0.0F, 0.2F) : 0.0F;
  sampling.repetition_penalty = draws.one_in(4) ? draws.between(0.8F, 1.5F) : 1.0F;
  sampling.presence_penalty = draws.one_in(5) ? draws.between(-1.0F, 1.0F) : 0.0F;
  sampling.frequency_penalty = draws.one_in(5) ? draws.between(-0.5F, 1.0F) : 0.0F;
  sampling.seed = static_cast<std::uint64_t>(draws.below(1 << 30));
  sampling.top_logprobs = draws.below(6) - 1;
  sampling.prompt_logprobs = draws.one_in(10) ? 1 : -1;
  sampling.ignore_eos = draws.one_in(3);
  sampling.min_tokens = draws.one_in(4) ? draws.below(sampling.max_tokens) : 0;
  if (draws.one_in(4)) {
    for (int i = 0; i < 3; ++i) {
      sampling.logit_bias.push_back({draws.below(vocab), draws.between(-20.0F, 4.0F)});
    }
  }
  if (draws.one_in(4)) {
    sampling.stop_tokens = {draws.below(vocab), draws.below(vocab)};
  }
}

// Prompts are prefixes and tails of a few texts, so that outputs repeat one another.
std::vector<engine::Request> random_requests(std::int32_t vocab, std::size_t count) {
  Draws draws(404);
  std::vector<std::vector<TokenId>> texts(8);
  for (std::vector<TokenId>& text : texts) {
    for (int i = 0; i < 60; ++i) {
      text.push_back(draws.below(vocab));
    }
  }
  std::vector<engine::Request> requests(count);
  for (engine::Request& request : requests) {
    const std::vector<TokenId>& text = texts[static_cast<std::size_t>(draws.below(8))];
    request.prompt.assign(text.begin(), text.begin() + 1 + draws.below(60));
    if (draws.one_in(3)) {
      request.prompt.push_back(draws.below(vocab));
    }
    if (draws.one_in(8)) {
      request.prediction.assign(text.begin() + draws.below(30), text.end());
    }
    request.choices = draws.one_in(10) ? 3 : 1;
    request.tenant = draws.one_in(5) ? "other" : "";
    choose_sampling(draws, vocab, request.sampling);
  }
  return requests;
}

TEST_CASE("200 random requests say the same with suffix drafts on and off", "[identity][speculation]") {
  HarnessModel model = folder_model(COPPICE_SOURCE_DIR "/models/demo", kernels::DType::kBF16);
  const std::vector<engine::Request> requests = random_requests(model.transformer->config().vocab, 200);
  HarnessOptions off;
  off.together = 20;
  off.step_logits_max = 128;
  const HarnessRun plain = run_requests(model, requests, off);
  HarnessOptions on = off;
  on.suffix = true;
  on.sharing = true;
  on.prefix_cache = true;
  const HarnessRun drafted = run_requests(model, requests, on);
  CHECK(drafted.stats.accepted_tokens > 500);
  CHECK(drafted.stats.draft_tokens > drafted.stats.accepted_tokens);  // wrong guesses were among them
  for (std::size_t i = 0; i < requests.size(); ++i) {
    for (std::size_t choice = 0; choice < plain.texts[i].size(); ++choice) {
      INFO("request " << i << " choice " << choice);
      REQUIRE(same_bits(plain.texts[i][choice], drafted.texts[i][choice]));
    }
  }
}

}  // namespace
}  // namespace coppice::testing
