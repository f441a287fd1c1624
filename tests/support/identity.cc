// Requests and ways of running them; see the header.
#include "tests/support/identity.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <memory>

#include "base/random.h"
#include "tests/support/token_automaton.h"

namespace coppice::testing {
namespace {

std::uint32_t draw(std::uint64_t index, std::uint32_t bound) {
  return base::philox4x32(77, index, 5)[0] % bound;
}

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

}  // namespace

std::vector<engine::Request> mixed_requests(std::int32_t vocab, std::int32_t count) {
  std::vector<engine::Request> requests;
  std::uint64_t draws = 0;
  const auto token = [&] { return static_cast<TokenId>(draw(++draws, static_cast<std::uint32_t>(vocab))); };
  std::vector<TokenId> common(150);
  std::generate(common.begin(), common.end(), token);
  for (std::int32_t i = 0; i < count; ++i) {
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

std::vector<engine::Request> constrained_requests(std::int32_t vocab, const std::vector<TokenId>& ends,
                                                  std::int32_t count) {
  std::vector<engine::Request> requests = mixed_requests(vocab, count);
  Draws draws(14);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    engine::SamplingParameters& sampling = requests[i].sampling;
    sampling.min_tokens = i % 4 == 0 ? sampling.max_tokens : 0;  // more than many constraints allow
    if (i % 3 == 0) {
      for (int k = 0; k < 8; ++k) {
        sampling.logit_bias.push_back({draws.below(vocab), draws.between(-100.0F, 20.0F)});
      }
    }
    if (i % 8 == 1) {
      for (TokenId token = 0; token < std::min(vocab, 1024); ++token) {
        sampling.logit_bias.push_back({token, -std::numeric_limits<float>::infinity()});
      }
    }
    sampling.ignore_eos = i % 6 == 5;
    if (i % 5 != 4) {
      AutomatonOptions options;
      options.seed = 500 + i;
      options.vocab = vocab;
      options.ends = ends;
      options.length_max = 5 + draws.below(60);
      options.forced_in = i % 7 == 0 ? 0 : 3 + static_cast<std::uint32_t>(draws.below(8));
      options.free_in = static_cast<std::uint32_t>(draws.below(6));
      requests[i].constraint = std::make_shared<const AutomatonSource>(std::move(options));
    }
  }
  return requests;
}

void require_allowed(const HarnessRun& run, const std::vector<engine::Request>& requests) {
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto* source = dynamic_cast<const AutomatonSource*>(requests[i].constraint.get());
    for (const ChoiceText& text : run.texts[i]) {
      if (source == nullptr) {
        continue;
      }
      INFO("request " << i << " " << text.error);
      REQUIRE(text.finish != engine::FinishReason::kError);
      AutomatonPlace place(source->options());
      for (const engine::TokenInfo& info : text.tokens) {
        REQUIRE(place.allows(info.token));
        place = place.after(info.token);
      }
    }
  }
}

HarnessOptions alone() {
  HarnessOptions options;
  options.running_max = 1;
  options.together = 1;
  return options;
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

void check_batches(HarnessModel& model, const std::vector<engine::Request>& requests, const HarnessRun& quiet,
                   std::span<const std::int32_t> batches) {
  for (const std::int32_t batch : batches) {
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

void check_chunks(HarnessModel& model, const std::vector<engine::Request>& requests, const HarnessRun& quiet,
                  std::span<const std::int32_t> chunks) {
  for (const std::int32_t chunk : chunks) {
    INFO("chunk " << chunk);
    HarnessOptions options;
    options.chunk_tokens_max = chunk;
    options.sharing = true;
    options.prefix_cache = chunk != 16;
    require_same(quiet, run_requests(model, requests, options));
  }
}

void check_tiny_pool(HarnessModel& model, const std::vector<engine::Request>& requests, const HarnessRun& quiet,
                     std::int32_t pages) {
  HarnessOptions options;
  options.pages = pages;
  options.running_max = 16;
  options.sharing = true;
  for (const bool prefix_cache : {false, true}) {
    options.prefix_cache = prefix_cache;
    const HarnessRun crowded = run_requests(model, requests, options);
    CHECK(crowded.stats.preemptions > 0);
    require_same(quiet, crowded);
  }
}

void check_drafts(HarnessModel& model, std::vector<engine::Request> requests, const HarnessRun& quiet,
                  std::uint64_t accepted_least) {
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
  CHECK(drafted.stats.drafts.accepted > accepted_least);
  require_same(quiet, drafted);
}

HarnessRun check_everything(HarnessModel& model, const std::vector<engine::Request>& requests,
                            std::uint64_t accepted_least) {
  model.steps_ahead = false;
  HarnessRun quiet = run_requests(model, requests, alone());
  check_batches(model, requests, quiet, std::vector<std::int32_t>{2, 7, 32});
  check_chunks(model, requests, quiet, std::vector<std::int32_t>{1, 16, 37, 512});
  check_tiny_pool(model, requests, quiet, 25);
  check_drafts(model, requests, quiet, accepted_least);
  model.steps_ahead = true;
  check_batches(model, requests, quiet, std::vector<std::int32_t>{7});
  check_chunks(model, requests, quiet, std::vector<std::int32_t>{37});
  check_tiny_pool(model, requests, quiet, 25);
  check_drafts(model, requests, quiet, accepted_least);
  return quiet;
}

void check_suffix_drafts(HarnessModel& model, const std::vector<engine::Request>& requests,
                         std::uint64_t accepted_least) {
  HarnessOptions off;
  off.together = 20;
  off.step_logits_max = 128;
  const HarnessRun plain = run_requests(model, requests, off);
  HarnessOptions on = off;
  on.suffix = true;
  on.sharing = true;
  on.prefix_cache = true;
  const HarnessRun drafted = run_requests(model, requests, on);
  CHECK(drafted.stats.drafts.accepted > accepted_least);
  CHECK(drafted.stats.drafts.tokens > drafted.stats.drafts.accepted);  // wrong guesses were among them
  require_same(plain, drafted);
}

}  // namespace coppice::testing
