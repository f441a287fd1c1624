// Reading tests/fixtures/models (fixture_model.h).
#include "tests/support/fixture_model.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

namespace coppice::tests {
namespace {

// In the checkout that this was built from, or where the environment says: scripts/gpu-check runs tests elsewhere.
std::filesystem::path fixtures_folder() {
  const char* moved = std::getenv("COPPICE_FIXTURES");
  return moved != nullptr ? std::filesystem::path(moved)
                          : std::filesystem::path(COPPICE_SOURCE_DIR) / "tests" / "fixtures" / "models";
}

}  // namespace

FixtureModel load_fixture_model(const std::string& name) {
  FixtureModel fixture;
  fixture.name = name;
  fixture.folder = fixtures_folder() / name;
  std::ifstream expected(fixture.folder / "expected.json");
  const nlohmann::json json = nlohmann::json::parse(expected);
  fixture.prompt = json.at("prompt").get<std::vector<TokenId>>();
  fixture.greedy = json.at("greedy").get<std::vector<TokenId>>();
  fixture.bf16_mean_error = json.at("bf16_mean_error").get<double>();
  const std::filesystem::path logits_file = fixture.folder / "logits.f32";
  const std::size_t vocab = std::filesystem::file_size(logits_file) / sizeof(float) / fixture.prompt.size();
  REQUIRE(vocab * fixture.prompt.size() * sizeof(float) == std::filesystem::file_size(logits_file));
  std::ifstream logits(logits_file, std::ios::binary);
  for (std::size_t i = 0; i < fixture.prompt.size(); ++i) {
    std::vector<float>& row = fixture.logits.emplace_back(vocab);
    logits.read(static_cast<char*>(static_cast<void*>(row.data())),
                static_cast<std::streamsize>(vocab * sizeof(float)));
  }
  REQUIRE(logits.good());
  REQUIRE(fixture.greedy.size() == 64);
  return fixture;
}

std::vector<FixtureModel> load_fixture_models() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(fixtures_folder())) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  REQUIRE(names.size() >= 15);
  std::vector<FixtureModel> fixtures;
  for (const std::string& name : names) {
    fixtures.push_back(load_fixture_model(name));
  }
  return fixtures;
}

}  // namespace coppice::tests
