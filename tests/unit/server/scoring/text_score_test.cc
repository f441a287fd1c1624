// The log-likelihood of a text against Hugging Face's logits, and how texts are cut into windows.
#include "server/scoring/text_score.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "server/model/model_loader.h"
#include "tests/support/fixture_model.h"

namespace coppice::server {
namespace {

LoadedModel load(const std::filesystem::path& folder, const std::string& dtype, std::int32_t window) {
  const auto package = ModelPackage::open(folder);
  REQUIRE(package.ok());
  LoadModelOptions options;
  options.device = "cpu";
  options.dtype = dtype;
  options.engine.model_tokens_max = window;
  options.engine.speculation = false;
  options.engine.prefix_cache = false;
  options.engine.running_max = 8;
  auto model = load_model(**package, options);
  INFO(model.status().ToString());
  REQUIRE(model.ok());
  return *std::move(model);
}

TextScore score(LoadedModel& model, std::span<const TokenId> text, const ScoreOptions& options) {
  const auto result = score_tokens(*model.engine, text, options, {});
  INFO(result.status().ToString());
  REQUIRE(result.ok());
  return *result;
}

double log_softmax(const std::vector<float>& logits, TokenId token) {
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit) - most);
  }
  return static_cast<double>(logits[static_cast<std::size_t>(token)]) - most - std::log(sum);
}

TEST_CASE("score: the log-likelihood of every family's text is Hugging Face's", "[parity]") {
  for (const tests::FixtureModel& fixture : tests::load_fixture_models()) {
    INFO(fixture.name);
    double expected = 0;
    for (std::size_t i = 1; i < fixture.prompt.size(); ++i) {
      expected += log_softmax(fixture.logits[i - 1], fixture.prompt[i]);
    }
    LoadedModel model = load(fixture.folder, "f32", 64);
    const TextScore whole = score(model, fixture.prompt, {.window = 64, .bos = {}});
    CHECK(whole.tokens == static_cast<std::int64_t>(fixture.prompt.size()) - 1);
    CHECK(whole.windows == 1);
    CHECK(whole.log_likelihood == Approx(expected).epsilon(1e-5));
    CHECK(whole.perplexity() == Approx(std::exp(-expected / static_cast<double>(whole.tokens))).epsilon(1e-4));
    // The same with the first token as what stands before the text.
    const std::span<const TokenId> rest = std::span(fixture.prompt).subspan(1);
    const TextScore behind = score(model, rest, {.window = 64, .bos = fixture.prompt[0]});
    CHECK(behind.tokens == whole.tokens);
    CHECK(behind.log_likelihood == whole.log_likelihood);
  }
}

TEST_CASE("score: each window is scored as if it stood alone, to the bit", "[score]") {
  const tests::FixtureModel fixture = tests::load_fixture_model("llama3");
  LoadedModel model = load(fixture.folder, "bf16", 64);
  std::vector<TokenId> text;
  for (int i = 0; i < 5; ++i) {
    text.insert(text.end(), fixture.prompt.begin() + i, fixture.prompt.end());
  }
  constexpr std::size_t kWindow = 16;
  for (const bool has_bos : {false, true}) {
    ScoreOptions options{.window = kWindow, .bos = {}};
    if (has_bos) {
      options.bos = TokenId{1};
    }
    const std::size_t stride = kWindow - (has_bos ? 1 : 0);
    double sum = 0;
    std::int64_t tokens = 0;
    for (std::size_t begin = 0; begin < text.size(); begin += stride) {
      const auto window = std::span(text).subspan(begin, std::min(stride, text.size() - begin));
      const TextScore alone = score(model, window, options);
      CHECK(alone.windows == 1);
      sum += alone.log_likelihood;
      tokens += alone.tokens;
    }
    std::vector<std::size_t> seen;
    const auto whole = score_tokens(*model.engine, text, options, [&seen](std::size_t done, std::size_t total) {
      CHECK(done <= total);
      seen.push_back(done);
    });
    REQUIRE(whole.ok());
    CHECK(whole->tokens == tokens);
    CHECK(whole->log_likelihood == sum);
    CHECK(std::is_sorted(seen.begin(), seen.end()));
    CHECK(seen.back() == static_cast<std::size_t>(whole->windows));
  }
}

TEST_CASE("score: which tokens of a text are scored", "[score]") {
  const tests::FixtureModel fixture = tests::load_fixture_model("llama2");
  LoadedModel model = load(fixture.folder, "f32", 64);
  struct Case {
    std::size_t text;
    bool has_bos;
    std::int64_t windows;
    std::int64_t tokens;
  };
  for (const Case& each : {Case{10, false, 3, 7}, Case{9, false, 2, 6}, Case{8, false, 2, 6}, Case{2, false, 1, 1},
                           Case{10, true, 4, 10}, Case{9, true, 3, 9}, Case{1, true, 1, 1}}) {
    INFO(each.text << " " << each.has_bos);
    ScoreOptions options{.window = 4, .bos = {}};
    if (each.has_bos) {
      options.bos = TokenId{1};
    }
    const TextScore result = score(model, std::span(fixture.prompt).first(each.text), options);
    CHECK(result.windows == each.windows);
    CHECK(result.tokens == each.tokens);
  }
}

TEST_CASE("score: what cannot be scored is refused", "[score]") {
  const tests::FixtureModel fixture = tests::load_fixture_model("llama2");
  LoadedModel model = load(fixture.folder, "f32", 64);
  const std::span<const TokenId> text(fixture.prompt);
  const auto refused = [&](std::span<const TokenId> tokens, const ScoreOptions& options) {
    const auto result = score_tokens(*model.engine, tokens, options, {});
    REQUIRE_FALSE(result.ok());
    CHECK(result.status().code() == absl::StatusCode::kInvalidArgument);
    return std::string(result.status().message());
  };
  CHECK_THAT(refused({}, {.window = 4, .bos = TokenId{1}}), Catch::Matchers::Contains("empty"));
  CHECK_THAT(refused(text.first(1), {.window = 4, .bos = {}}), Catch::Matchers::Contains("one token"));
  CHECK_THAT(refused(text, {.window = 1, .bos = {}}), Catch::Matchers::Contains("window"));
  CHECK_THAT(refused(text, {.window = 80, .bos = TokenId{1 << 20}}),
             Catch::Matchers::Contains("the model's tokens are 0 to"));
  // It goes on as before.
  CHECK(score(model, text, {.window = 4, .bos = {}}).tokens > 0);
}

}  // namespace
}  // namespace coppice::server
