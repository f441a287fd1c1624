// What the engine refuses, and that each refusal names what came.
#include "engine/refusal.h"

#include <catch2/catch.hpp>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

namespace coppice::engine {
namespace {

std::string refusal_after(const std::function<void(Request&)>& spoil) {
  Limits limits;
  limits.model_tokens_max = 8;
  models::ModelConfig model;
  model.vocab = 10;
  Request request;
  request.prompt = {1, 2, 3};
  spoil(request);
  return refusal(request, limits, model);
}

}  // namespace

TEST_CASE("a sound request is not refused", "[admission]") {
  CHECK(refusal_after([](Request&) {}).empty());
  CHECK(refusal_after([](Request& request) { request.prompt.resize(7); }).empty());
  CHECK(refusal_after([](Request& request) {
          request.prompt.resize(8);
          request.sampling.max_tokens = 0;
        }).empty());
}

TEST_CASE("every bad number is refused by name", "[admission]") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  struct Case {
    const char* expected;
    std::function<void(Request&)> spoil;
  };
  const std::vector<Case> cases = {
      {"prompt is empty", [](Request& r) { r.prompt.clear(); }},
      {"prompt does not fit: this model's maximum context length is 8 tokens", [](Request& r) { r.prompt.resize(8); }},
      {"prompt[1] is token 10", [](Request& r) { r.prompt[1] = 10; }},
      {"prompt[2] is token -1", [](Request& r) { r.prompt[2] = -1; }},
      {"prediction has 9 tokens", [](Request& r) { r.prediction.resize(9); }},
      {"prediction[0] is token 99", [](Request& r) { r.prediction = {99}; }},
      {"n is 0", [](Request& r) { r.choices = 0; }},
      {"n is 129", [](Request& r) { r.choices = 129; }},
      {"max_tokens is -1", [](Request& r) { r.sampling.max_tokens = -1; }},
      {"min_tokens is 17", [](Request& r) { r.sampling.min_tokens = 17; }},
      {"temperature is -1", [](Request& r) { r.sampling.temperature = -1; }},
      {"temperature is nan", [nan](Request& r) { r.sampling.temperature = nan; }},
      {"top_k is -2", [](Request& r) { r.sampling.top_k = -2; }},
      {"top_p is 1.5", [](Request& r) { r.sampling.top_p = 1.5F; }},
      {"top_p is nan", [nan](Request& r) { r.sampling.top_p = nan; }},
      {"min_p is 1.5", [](Request& r) { r.sampling.min_p = 1.5F; }},
      {"repetition_penalty is 0", [](Request& r) { r.sampling.repetition_penalty = 0; }},
      {"repetition_penalty is 0.001", [](Request& r) { r.sampling.repetition_penalty = 0.001F; }},
      {"presence_penalty is nan", [nan](Request& r) { r.sampling.presence_penalty = nan; }},
      {"frequency_penalty is 2.5", [](Request& r) { r.sampling.frequency_penalty = 2.5F; }},
      {"logit_bias has 1025 entries", [](Request& r) { r.sampling.logit_bias.resize(1025); }},
      {"logit_bias of token 10",
       [](Request& r) {
         r.sampling.logit_bias = {{10, 1}};
       }},
      {"stop_token_ids has 65 entries", [](Request& r) { r.sampling.stop_tokens.resize(65); }},
      {"stop_token_ids[0] is token 11", [](Request& r) { r.sampling.stop_tokens = {11}; }},
      {"logprobs asks for 21 tokens", [](Request& r) { r.sampling.top_logprobs = 21; }},
      {"logprobs asks for -2 tokens", [](Request& r) { r.sampling.prompt_logprobs = -2; }},
  };
  for (const Case& spoilt : cases) {
    INFO(spoilt.expected);
    CHECK(refusal_after(spoilt.spoil).starts_with(spoilt.expected));
  }
}

TEST_CASE("every bad reading is refused by name", "[admission][reading]") {
  const auto after = [](const std::function<void(Request&)>& spoil) {
    return refusal_after([&](Request& request) {
      request.reading = Reading::kLabels;
      request.sampling.max_tokens = 0;
      request.choices = 2;
      request.branches = {{{4, 5}, {1, 2}}, {{}, {9}}};
      spoil(request);
    });
  };
  CHECK(after([](Request&) {}).empty());
  CHECK(after([](Request& r) { r.branches[0].tokens.resize(5); }).empty());  // the whole context: nothing is generated
  CHECK(after([](Request& r) {
          r.reading = Reading::kMeanHidden;
          r.branches = {{{1}, {}}, {{2}, {}}};
          r.prompt.clear();
        }).empty());
  struct Case {
    const char* expected;
    std::function<void(Request&)> spoil;
  };
  const std::vector<Case> cases = {
      {"a request that reads generates nothing", [](Request& r) { r.sampling.max_tokens = 1; }},
      {"a request that reads generates nothing", [](Request& r) { r.sampling.prompt_logprobs = 0; }},
      {"a request that reads generates nothing", [](Request& r) { r.pin = true; }},
      {"a request that reads generates nothing", [](Request& r) { r.prediction = {1}; }},
      {"2 branches for 1 choices", [](Request& r) { r.choices = 1; }},
      {"0 branches for 2 choices", [](Request& r) { r.branches.clear(); }},
      {"2049 branches",
       [](Request& r) {
         r.choices = 2049;
         r.branches.resize(2049, {{1}, {1}});
       }},
      {"branches[0] has 9 tokens", [](Request& r) { r.branches[0].tokens.resize(6); }},
      {"branches[1] has 0 tokens", [](Request& r) { r.prompt.clear(); }},
      {"branches[1] has 0 labels", [](Request& r) { r.branches[1].labels.clear(); }},
      {"branches[1] has 257 labels", [](Request& r) { r.branches[1].labels.resize(257); }},
      {"branches[0] has 2 labels", [](Request& r) { r.reading = Reading::kLastHidden; }},
      {"branches[0].tokens[1] is token 10", [](Request& r) { r.branches[0].tokens[1] = 10; }},
      {"branches[1].labels[0] is token -1", [](Request& r) { r.branches[1].labels[0] = -1; }},
      {"prompt[1] is token 10", [](Request& r) { r.prompt[1] = 10; }},
      {"branches are for requests that read", [](Request& r) { r.reading = Reading::kNone; }},
  };
  for (const Case& spoilt : cases) {
    INFO(spoilt.expected);
    CHECK(after(spoilt.spoil).starts_with(spoilt.expected));
  }
}

TEST_CASE("sampling numbers have the bounds of the table, both allowed", "[admission]") {
  for (const bool is_most : {false, true}) {
    CHECK(refusal_after([is_most](Request& request) {
            const auto set = [is_most](const base::SamplingKnob& knob, auto& number) {
              number = static_cast<std::decay_t<decltype(number)>>(is_most ? knob.most : knob.least);
            };
            base::SamplingNumbers& numbers = request.sampling;
            base::for_each_sampling_knob(set, numbers);
          }).empty());
  }
}

}  // namespace coppice::engine
