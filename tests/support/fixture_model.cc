// Reading tests/fixtures/models (fixture_model.h).
#include "tests/support/fixture_model.h"
#include "tests/support/source_folder.h"

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
                          : std::filesystem::path(coppice::test::source_path("tests/fixtures/models"));
}

// Raw float32 [rows, any number of columns].
std::vector<std::vector<float>> load_rows(const std::filesystem::path& path, std::size_t rows) {
  const std::size_t columns = std::filesystem::file_size(path) / sizeof(float) / rows;
  REQUIRE(columns * rows * sizeof(float) == std::filesystem::file_size(path));
  std::ifstream file(path, std::ios::binary);
  std::vector<std::vector<float>> loaded;
  for (std::size_t i = 0; i < rows; ++i) {
    std::vector<float>& row = loaded.emplace_back(columns);
    file.read(static_cast<char*>(static_cast<void*>(row.data())),
              static_cast<std::streamsize>(columns * sizeof(float)));
  }
  REQUIRE(file.good());
  return loaded;
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
  fixture.logits = load_rows(fixture.folder / "logits.f32", fixture.prompt.size());
  fixture.hidden = load_rows(fixture.folder / "hidden.f32", fixture.prompt.size());
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
