// Sampling state: counts along draft paths, end tokens, seeds of choices.
#include "engine/sampler.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

namespace coppice::engine {
namespace {

std::map<TokenId, std::int32_t> counts_of(const StepDraw& draw, const SamplingLists& lists) {
  std::map<TokenId, std::int32_t> map;
  for (const kernels::TokenCount& count : draw.counts.of(lists.counts)) {
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
  SamplingLists lists;
  CHECK(counts_of(sampler.draw(2, 3, 0, lists), lists) == std::map<TokenId, std::int32_t>{{5, 0}, {6, 0}});
  sampler.observe(2, 6);
  sampler.observe(2, 9);
  lists.clear();
  const std::vector<TokenId> path = {9, 4, 4, 5};
  const StepDraw root = sampler.draw(2, 5, 2, lists);
  const StepDraw node = sampler.draw_after(2, root, 6, path, lists);
  CHECK(counts_of(node, lists) == std::map<TokenId, std::int32_t>{{5, 1}, {6, 1}, {9, 2}, {4, 2}});
  CHECK(counts_of(root, lists) == std::map<TokenId, std::int32_t>{{5, 0}, {6, 1}, {9, 1}});
  CHECK(node.numbers.seed == 77);
  CHECK(node.numbers.position == 9);
}

TEST_CASE("a token that was being drawn when its successor was planned is counted late", "[sampler]") {
  for (const TokenId late : {5, 8}) {  // one that is counted already, and a new one
    Sampler sampler({0});
    SamplingParameters parameters;
    parameters.frequency_penalty = 0.5F;
    parameters.logit_bias = {{3, 1.0F}};
    sampler.begin(0, parameters, 1, std::vector<TokenId>{5, 6});
    sampler.begin(1, parameters, 1, std::vector<TokenId>{7});
    SamplingLists lists;
    StepDraw draw = sampler.draw(0, 3, 1, lists);
    const StepDraw other = sampler.draw(1, 1, 0, lists);
    sampler.observe(0, late);
    sampler.count_late(0, late, draw, lists);
    CHECK(counts_of(draw, lists) == (late == 5 ? std::map<TokenId, std::int32_t>{{5, 1}, {6, 0}}
                                               : std::map<TokenId, std::int32_t>{{5, 0}, {6, 0}, {8, 1}}));
    CHECK(counts_of(other, lists) == std::map<TokenId, std::int32_t>{{7, 0}});
  }
}

TEST_CASE("without penalties nothing is counted", "[sampler]") {
  Sampler sampler({0});
  const SamplingParameters parameters;
  sampler.begin(0, parameters, 1, std::vector<TokenId>{1, 2});
  sampler.observe(0, 3);
  SamplingLists lists;
  CHECK(sampler.draw(0, 3, 1, lists).counts.count == 0);
  CHECK(lists.counts.empty());
}

TEST_CASE("end tokens are forbidden before min_tokens", "[sampler]") {
  Sampler sampler({7, 8});
  SamplingParameters parameters;
  parameters.stop_tokens = {4};
  parameters.min_tokens = 2;
  sampler.begin(0, parameters, 1, std::vector<TokenId>{1});
  const auto forbidden = [&](std::int32_t output_index) {
    SamplingLists lists;
    const auto tokens = sampler.draw(0, 1 + output_index, output_index, lists).forbidden.of(lists.forbidden);
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
