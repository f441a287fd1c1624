// The checks of a request against Limits and the model, one message each.
#include "engine/refusal.h"

#include <algorithm>
#include <cmath>

#include "base/sampling.h"
#include "fmt/format.h"

namespace coppice::engine {
namespace {

std::string refuse_tokens(const char* name, const std::vector<TokenId>& tokens, std::int32_t vocab) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= vocab) {
      return fmt::format("{}[{}] is token {}; the model's tokens are 0 to {}", name, i, tokens[i], vocab - 1);
    }
  }
  return {};
}

std::string refuse_branch(const Request& request, std::size_t index, const Limits& limits, std::int32_t vocab) {
  const Branch& branch = request.branches[index];
  const std::string name = fmt::format("branches[{}]", index);
  const std::size_t tokens = request.prompt.size() + branch.tokens.size();
  if (tokens == 0 || tokens > static_cast<std::size_t>(limits.model_tokens_max)) {
    return fmt::format("{} has {} tokens; 1 to {} are allowed", name, tokens, limits.model_tokens_max);
  }
  if ((request.reading == Reading::kLabels) == branch.labels.empty() ||
      branch.labels.size() > static_cast<std::size_t>(limits.labels_max)) {
    return fmt::format("{} has {} labels; 1 to {} are allowed, and none where none are read", name,
                       branch.labels.size(), limits.labels_max);
  }
  if (std::string reason = refuse_tokens((name + ".tokens").c_str(), branch.tokens, vocab); !reason.empty()) {
    return reason;
  }
  return refuse_tokens((name + ".labels").c_str(), branch.labels, vocab);
}

// Of a request that reads: it generates nothing, and nothing is reported about its tokens but what is read.
std::string refuse_reading(const Request& request, const Limits& limits, std::int32_t vocab) {
  const SamplingParameters& sampling = request.sampling;
  if (sampling.max_tokens != 0 || sampling.prompt_logprobs >= 0 || request.pin || !request.prediction.empty() ||
      request.constraint != nullptr) {
    return "a request that reads generates nothing, scores nothing and pins nothing";
  }
  const std::size_t branches = request.branches.size();
  if (branches < 1 || branches > static_cast<std::size_t>(limits.branches_max) ||
      static_cast<std::size_t>(request.choices) != branches) {
    return fmt::format("{} branches for {} choices; 1 to {} of each are allowed, as many of one as of the other",
                       branches, request.choices, limits.branches_max);
  }
  for (std::size_t i = 0; i < branches; ++i) {
    if (std::string reason = refuse_branch(request, i, limits, vocab); !reason.empty()) {
      return reason;
    }
  }
  return refuse_tokens("prompt", request.prompt, vocab);
}

std::string refuse_lengths(const Request& request, const Limits& limits) {
  const std::size_t context = static_cast<std::size_t>(limits.model_tokens_max);
  if (!request.branches.empty()) {
    return "branches are for requests that read";
  }
  if (request.prompt.empty()) {
    return "prompt is empty; at least one token is needed";
  }
  const std::size_t output = request.sampling.max_tokens > 0 ? 1 : 0;
  if (request.prompt.size() + output > context) {
    return fmt::format(
        "prompt does not fit: this model's maximum context length is {} tokens; prompt has {}, and at least {} of "
        "output",
        context, request.prompt.size(), output);
  }
  if (request.prediction.size() > context) {
    return fmt::format("prediction has {} tokens; at most {} are allowed", request.prediction.size(), context);
  }
  if (request.choices < 1 || request.choices > limits.choices_max) {
    return fmt::format("n is {}; 1 to {} choices are allowed", request.choices, limits.choices_max);
  }
  const SamplingParameters& sampling = request.sampling;
  if (sampling.max_tokens < 0) {
    return fmt::format("max_tokens is {}; it must not be negative", sampling.max_tokens);
  }
  if (sampling.min_tokens < 0 || sampling.min_tokens > sampling.max_tokens) {
    return fmt::format("min_tokens is {}; 0 to max_tokens ({}) are allowed", sampling.min_tokens, sampling.max_tokens);
  }
  return {};
}

// The bounds of the table. Compared in the number's own type: 0.01 as a float is less than 0.01.
std::string refuse_numbers(const SamplingParameters& sampling) {
  std::string reason;
  const auto check = [&reason](const base::SamplingKnob& knob, auto value) {
    const auto least = static_cast<decltype(value)>(knob.least);
    const auto most = static_cast<decltype(value)>(knob.most);
    if (reason.empty() && !(value >= least && value <= most)) {  // also NaN
      reason = fmt::format("{} is {}; {} to {} are allowed", knob.name, value, least, most);
    }
  };
  base::for_each_sampling_knob(check, sampling);
  return reason;
}

std::string refuse_lists(const SamplingParameters& sampling, const Limits& limits, std::int32_t vocab) {
  if (sampling.logit_bias.size() > static_cast<std::size_t>(limits.logit_bias_max)) {
    return fmt::format("logit_bias has {} entries; at most {} are allowed", sampling.logit_bias.size(),
                       limits.logit_bias_max);
  }
  for (const LogitBias& bias : sampling.logit_bias) {
    if (bias.token < 0 || bias.token >= vocab || std::isnan(bias.bias)) {
      return fmt::format("logit_bias of token {} is {}; the model's tokens are 0 to {} and a bias is a number",
                         bias.token, bias.bias, vocab - 1);
    }
  }
  if (sampling.stop_tokens.size() > static_cast<std::size_t>(limits.stop_tokens_max)) {
    return fmt::format("stop_token_ids has {} entries; at most {} are allowed", sampling.stop_tokens.size(),
                       limits.stop_tokens_max);
  }
  if (std::string reason = refuse_tokens("stop_token_ids", sampling.stop_tokens, vocab); !reason.empty()) {
    return reason;
  }
  for (const std::int32_t top : {sampling.top_logprobs, sampling.prompt_logprobs}) {
    if (top < -1 || top > limits.top_logprobs_max) {
      return fmt::format("logprobs asks for {} tokens; at most {} are allowed", top, limits.top_logprobs_max);
    }
  }
  return {};
}

std::string refuse_cache_use(const Request& request, const Limits& limits) {
  const CacheUse& use = request.cache;
  if (use.write_tokens < 0 || use.keeps.size() > static_cast<std::size_t>(limits.keeps_max)) {
    return fmt::format("cache use of {} tokens with {} kept prefixes; at most {} are allowed", use.write_tokens,
                       use.keeps.size(), limits.keeps_max);
  }
  std::int32_t before = 0;
  const auto most = std::min(static_cast<std::int64_t>(request.prompt.size()), std::int64_t{use.write_tokens});
  for (const KeepPrefix& keep : use.keeps) {
    if (keep.tokens < before || keep.tokens > most || keep.time.count() <= 0) {
      return fmt::format("cache use keeps {} tokens behind {}; ascending numbers up to {}, and times, are allowed",
                         keep.tokens, before, most);
    }
    before = keep.tokens;
  }
  return {};
}

}  // namespace

std::string refusal(const Request& request, const Limits& limits, const models::ModelConfig& model) {
  if (std::string reason = refuse_cache_use(request, limits); !reason.empty()) {
    return reason;
  }
  if (request.reading != Reading::kNone) {
    return refuse_reading(request, limits, model.vocab);
  }
  if (std::string reason = refuse_lengths(request, limits); !reason.empty()) {
    return reason;
  }
  if (std::string reason = refuse_tokens("prompt", request.prompt, model.vocab); !reason.empty()) {
    return reason;
  }
  if (std::string reason = refuse_tokens("prediction", request.prediction, model.vocab); !reason.empty()) {
    return reason;
  }
  if (std::string reason = refuse_numbers(request.sampling); !reason.empty()) {
    return reason;
  }
  return refuse_lists(request.sampling, limits, model.vocab);
}

}  // namespace coppice::engine
