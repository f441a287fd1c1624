// The float64 reference against Hugging Face transformers: whatever is later held against the reference stands on this.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "models/model_config.h"
#include "models/weights.h"
#include "tests/support/fixture_model.h"
#include "tests/support/reference_transformer.h"

namespace coppice::tests {
namespace {

constexpr double kLogitTolerance = 2e-4;

TEST_CASE("reference: logits and greedy text of every family are Hugging Face's") {
  for (const FixtureModel& fixture : load_fixture_models()) {
    INFO(fixture.name);
    const auto config = models::load_model_config(fixture.folder);
    INFO(config.status().ToString());
    REQUIRE(config.ok());
    const auto source = models::open_safetensors_weights(fixture.folder, *config);
    INFO(source.status().ToString());
    REQUIRE(source.ok());
    const auto weights = load_reference(*config, **source);
    REQUIRE(weights.ok());
    ReferenceSequence sequence(*weights);
    std::vector<double> last;
    double worst = 0.0;
    for (std::size_t i = 0; i < fixture.prompt.size(); ++i) {
      last = sequence.append(fixture.prompt[i]);
      REQUIRE(last.size() == fixture.logits[i].size());
      for (std::size_t token = 0; token < last.size(); ++token) {
        worst = std::max(worst, std::abs(last[token] - static_cast<double>(fixture.logits[i][token])));
      }
    }
    CHECK(worst <= kLogitTolerance);
    std::vector<TokenId> greedy;
    while (greedy.size() < fixture.greedy.size()) {
      greedy.push_back(greedy_token(last));
      last = sequence.append(greedy.back());
    }
    CHECK(greedy == fixture.greedy);
  }
}

}  // namespace
}  // namespace coppice::tests
