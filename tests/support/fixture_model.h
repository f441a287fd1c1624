// The tiny models of tests/fixtures/models, with what Hugging Face transformers said about them
// (tools/make_model_fixtures.py).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/types.h"

namespace coppice::tests {

// A value: one folder's expectations.
struct FixtureModel {
  std::string name;
  std::filesystem::path folder;
  std::vector<TokenId> prompt;
  std::vector<TokenId> greedy;             // continuation of the prompt
  std::vector<std::vector<float>> logits;  // of each prompt position, in float32
  std::vector<std::vector<float>> hidden;  // likewise the final hidden states, with the last norm applied
  double bf16_mean_error = 0.0;            // mean distance of transformers' bfloat16 logits from these
};

// Every folder, by name. Fails the test when there is none or a file is broken.
std::vector<FixtureModel> load_fixture_models();
FixtureModel load_fixture_model(const std::string& name);

}  // namespace coppice::tests
