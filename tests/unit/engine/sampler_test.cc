// Sampling state: counts along draft paths, end tokens, seeds of choices.
#include "engine/sampler.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

namespace coppice::engine {
namespace {

std::map<TokenId, std::int32_t> as_map(std::span<const kernels::TokenCount> counts) {
  std::map<TokenId, std::int32_t> map;
  for (const kernels::TokenCount& count : counts) {
    CHECK(map.emplace(count.token, count.output_count).second);  // each token once
  }
  return map;
}

}  // namespace

TEST_CASE("penalties count prompt and output, and a draft node what leads to it", "[sampler]") {
  Sampler sampler({0});
  SamplingParameters parameters;
  parameters.frequency_penalty = 0.5F;
  const std::vector<TokenId> prompt = {5, 6, 5};
  sampler.begin(2, parameters, 77, prompt);
  CHECK(as_map(sampler.draw_row(2, 3, 0, {}).counts) == std::map<TokenId, std::int32_t>{{5, 0}, {6, 0}});
  sampler.observe(2, 6);
  sampler.observe(2, 9);
  sampler.begin_step();
  const std::vector<TokenId> path = {9, 4, 4, 5};
  const kernels::SamplingRow node = sampler.draw_row(2, 9, 6, path);
  const kernels::SamplingRow root = sampler.draw_row(2, 5, 2, {});
  CHECK(as_map(node.counts) == std::map<TokenId, std::int32_t>{{5, 1}, {6, 1}, {9, 2}, {4, 2}});
  CHECK(as_map(root.counts) == std::map<TokenId, std::int32_t>{{5, 0}, {6, 1}, {9, 1}});
  CHECK(node.seed == 77);
  CHECK(node.position == 9);
}

TEST_CASE("without penalties nothing is counted", "[sampler]") {
  Sampler sampler({0});
  const SamplingParameters parameters;
  sampler.begin(0, parameters, 1, std::vector<TokenId>{1, 2});
  sampler.observe(0, 3);
  CHECK(sampler.draw_row(0, 3, 1, {}).counts.empty());
}

TEST_CASE("end tokens are forbidden before min_tokens", "[sampler]") {
  Sampler sampler({7, 8});
  SamplingParameters parameters;
  parameters.stop_tokens = {4};
  parameters.min_tokens = 2;
  sampler.begin(0, parameters, 1, std::vector<TokenId>{1});
  const auto forbidden = [&](std::int32_t output_index) {
    const auto tokens = sampler.draw_row(0, 1 + output_index, output_index, {}).forbidden;
    return std::set<TokenId>(tokens.begin(), tokens.end());
  };
  CHECK(forbidden(0) == std::set<TokenId>{4, 7, 8});
  CHECK(forbidden(1) == std::set<TokenId>{4, 7, 8});
  CHECK(forbidden(2).empty());
  CHECK(sampler.is_end(0, 4));
  CHECK(sampler.is_end(0, 7));
  CHECK_FALSE(sampler.is_end(0, 1));
}

TEST_CASE("ignore_eos leaves stop tokens in force", "[sampler]") {
  Sampler sampler({7});
  SamplingParameters parameters;
  parameters.stop_tokens = {4};
  parameters.ignore_eos = true;
  sampler.begin(0, parameters, 1, std::vector<TokenId>{1});
  CHECK(sampler.is_end(0, 4));
  CHECK_FALSE(sampler.is_end(0, 7));
  sampler.end(0);
  sampler.begin(0, parameters, 1, std::vector<TokenId>{1});  // a slot may begin again
  CHECK(sampler.is_end(0, 4));
}

TEST_CASE("choice 0 draws with the request's seed, the others with their own", "[sampler]") {
  CHECK(choice_seed(5, 0) == 5);
  std::set<std::uint64_t> seeds;
  for (std::int32_t choice = 0; choice < 128; ++choice) {
    seeds.insert(choice_seed(5, choice));
    seeds.insert(choice_seed(6, choice));
  }
  CHECK(seeds.size() == 256);
}

}  // namespace coppice::engine
