// Inverse frequencies and attention factors against numbers printed by Hugging Face transformers 5.23
// (modeling_rope_utils) for the published settings, bit for bit or one unit in the last place away.
#include "models/rope.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace coppice::models {
namespace {

using nlohmann::json;
using Expected = std::vector<std::pair<std::size_t, float>>;

constexpr std::int32_t kHeadDim = 128;

RopeConfig parsed(const json& config, std::int32_t max_positions) {
  const absl::StatusOr<RopeConfig> rope = parse_rope(config, kHeadDim, max_positions);
  INFO(rope.status().ToString());
  REQUIRE(rope.ok());
  return *rope;
}

void check_frequencies(const RopeConfig& rope, const Expected& expected) {
  const std::vector<float> frequency = rope_inverse_frequency(rope);
  REQUIRE(frequency.size() == kHeadDim / 2);
  for (const auto& [index, value] : expected) {
    INFO(index);
    // Two powf implementations may differ in the last place, and a quotient of them again.
    CHECK(std::abs(frequency[index] - value) <= 3e-7F * value);
  }
}

TEST_CASE("rope: plain, theta a million (CodeLlama)") {
  const RopeConfig rope = parsed({{"rope_theta", 1000000.0}}, 16384);
  CHECK(scaled_max_positions(rope, 16384) == 16384);
  check_frequencies(rope, {{0, 0x1p+0F},
                           {1, 0x1.9c975ap-1F},
                           {16, 0x1.030dc6p-5F},
                           {32, 0x1.0624dep-10F},
                           {42, 0x1.e459c4p-14F},
                           {63, 0x1.4d1c98p-20F}});
}

TEST_CASE("rope: linear scaling") {
  const RopeConfig rope =
      parsed({{"rope_theta", 100000.0}, {"rope_scaling", {{"type", "linear"}, {"factor", 4.0}}}}, 4096);
  CHECK(rope.attention_factor == 1.0);
  CHECK(scaled_max_positions(rope, 4096) == 16384);
  check_frequencies(rope, {{0, 0x1p-2F}, {1, 0x1.abb4a4p-3F}, {36, 0x1.93aeb8p-12F}, {63, 0x1.91acd2p-19F}});
}

TEST_CASE("rope: Llama 3.1's scaling") {
  const json scaling = {{"rope_type", "llama3"},
                        {"factor", 8.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 8192}};
  const Expected expected = {{0, 0x1p+0F},          {1, 0x1.a11582p-1F},   {16, 0x1.341190p-5F},
                             {21, 0x1.ba0dd8p-7F},  {32, 0x1.132ba4p-11F}, {36, 0x1.46831ap-14F},
                             {42, 0x1.7da9e8p-16F}, {62, 0x1.948360p-22F}, {63, 0x1.4985fep-22F}};
  const RopeConfig rope = parsed({{"rope_theta", 500000.0}, {"rope_scaling", scaling}}, 131072);
  CHECK(scaled_max_positions(rope, 131072) == 131072);
  check_frequencies(rope, expected);
  json newer = scaling;
  newer["rope_theta"] = 500000.0;
  check_frequencies(parsed({{"rope_parameters", newer}}, 131072), expected);
}

TEST_CASE("rope: YaRN as Qwen2.5 has it") {
  const RopeConfig rope =
      parsed({{"rope_theta", 1000000.0},
              {"rope_scaling", {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}}}},
             32768);
  CHECK(rope.attention_factor == Approx(1.138629436111989).epsilon(1e-14));
  CHECK(scaled_max_positions(rope, 32768) == 131072);
  check_frequencies(rope, {{0, 0x1p+0F},
                           {16, 0x1.030dc6p-5F},
                           {21, 0x1.6020a4p-7F},
                           {32, 0x1.3c1d64p-11F},
                           {36, 0x1.79277cp-13F},
                           {42, 0x1.e459c4p-16F},
                           {63, 0x1.4d1c98p-22F}});
}

TEST_CASE("rope: YaRN with mscale and without truncation") {
  const RopeConfig rope = parsed({{"rope_scaling",
                                   {{"rope_type", "yarn"},
                                    {"factor", 40.0},
                                    {"original_max_position_embeddings", 4096},
                                    {"mscale", 1.0},
                                    {"mscale_all_dim", 0.707},
                                    {"truncate", false}}}},
                                 2048);
  CHECK(rope.attention_factor == Approx(1.0857263992561355).epsilon(1e-14));
  check_frequencies(
      rope,
      {{16, 0x1.99999ap-4F}, {21, 0x1.8e06f0p-5F}, {32, 0x1.6a0664p-8F}, {36, 0x1.1fcc80p-9F}, {42, 0x1.6ee22ep-12F}});
}

TEST_CASE("rope: yarn without a factor takes the ratio of the two context lengths") {
  const RopeConfig rope = parsed(
      {{"rope_scaling", {{"type", "yarn"}, {"factor", nullptr}, {"original_max_position_embeddings", 1024}}}}, 4096);
  CHECK(rope.factor == 4.0);
  CHECK(scaled_max_positions(rope, 4096) == 4096);
}

TEST_CASE("rope: bad scalings are refused by field") {
  const std::pair<json, const char*> bad[] = {
      {{{"type", "linear"}}, "factor is missing"},
      {{{"type", "linear"}, {"factor", 0}}, "factor"},
      {{{"type", "linear"}, {"factor", "4"}}, "factor"},
      {{{"type", 3}, {"factor", 4}}, "type"},
      {{{"rope_type", "llama3"}, {"factor", 8.0}}, "low_freq_factor is missing"},
      {{{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 4.0}, {"high_freq_factor", 4.0}},
       "high_freq_factor must be greater"},
      {{{"rope_type", "yarn"}, {"factor", 8.0}, {"original_max_position_embeddings", 0}},
       "original_max_position_embeddings"},
      {{{"rope_type", "yarn"}, {"factor", 8.0}, {"beta_fast", 1.0}, {"beta_slow", 2.0}}, "beta_fast"},
      {{{"rope_type", "yarn"}, {"factor", 8.0}, {"attention_factor", -1.0}}, "attention_factor"},
      {{{"rope_type", "longrope"}, {"factor", 8.0}}, "longrope"},
      {{{"full_attention", {{"rope_type", "default"}}}}, "per layer type"}};
  for (const auto& [scaling, part] : bad) {
    INFO(scaling.dump());
    const absl::Status status = parse_rope({{"rope_scaling", scaling}}, kHeadDim, 4096).status();
    INFO(status.ToString());
    CHECK_FALSE(status.ok());
    CHECK(std::string(status.message()).find(part) != std::string::npos);
    CHECK(std::string(status.message()).find("config.json: rope_scaling") == 0);
  }
}

}  // namespace
}  // namespace coppice::models
