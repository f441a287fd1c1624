// The bounds of every number and list of a request. Messages name the field, its bounds and what came.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "proto/openai/request_fields.h"

namespace coppice::openai {
namespace {

// Collects the first error; later checks do nothing.
class Checker {
 public:
  void number(const char* name, const std::optional<double>& value, double low, double high) {
    if (!error_ && value && !(*value >= low && *value <= high)) {  // also refuses NaN
      error_ = bad_value(name, fmt::format("'{}' must be from {} to {}; got {}", name, low, high, *value));
    }
  }

  void integer(const char* name, const std::optional<std::int64_t>& value, std::int64_t low, std::int64_t high) {
    if (!error_ && value && (*value < low || *value > high)) {
      error_ = bad_value(name, fmt::format("'{}' must be from {} to {}; got {}", name, low, high, *value));
    }
  }

  void size(const char* name, std::size_t size, std::int64_t high, const char* unit) {
    if (!error_ && size > static_cast<std::size_t>(high)) {
      error_ = bad_value(name, fmt::format("'{}' must have at most {} {}; got {}", name, high, unit, size));
    }
  }

  void require(bool holds, const char* name, const char* message) {
    if (!error_ && !holds) {
      error_ = bad_value(name, message);
    }
  }

  void fail(ApiError error) {
    if (!error_) {
      error_ = std::move(error);
    }
  }

  bool failed() const { return error_.has_value(); }
  MaybeError take() { return std::move(error_); }

 private:
  MaybeError error_;
};

constexpr double kBiasMax = 100.0;  // OpenAI's bound: as good as a ban or a command

void check_knobs(const base::SamplingChoices& sampling, const RequestLimits& limits, Checker& check) {
  const auto check_one = [&](const base::SamplingKnob& knob, const auto& value) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::optional<double>>) {
      check.number(knob.name, value, knob.least, knob.most);
    } else {  // the integers count tokens of the vocabulary
      check.integer(knob.name, value, static_cast<std::int64_t>(knob.least),
                    std::min(static_cast<std::int64_t>(knob.most), limits.vocab));
    }
  };
  base::for_each_sampling_knob(check_one, sampling);
}

// The bounds of a number in the table of request_fields.h.
void check_field(std::string_view name, const GenerationRequest& request, const RequestLimits& limits, Checker& check) {
  for_each_request_field(request, [&](const RequestField& field, const auto& value) {
    if constexpr (!std::is_same_v<std::decay_t<decltype(value)>, bool>) {
      if (field.name == name) {
        check.integer(field.name, value, field.least, field.most_of(limits));
      }
    }
  });
}

void check_sampling(const GenerationRequest& request, const RequestLimits& limits, Checker& check) {
  const SamplingFields& sampling = request.sampling;
  check_knobs(sampling, limits, check);
  // Nothing to generate is fine when the prompt itself is what the client wants scored, echoed or kept.
  const bool may_be_empty = request.echo || request.prompt_logprobs.has_value() || request.allows_no_tokens;
  const char* const name = sampling.max_tokens_name;
  if (!request.cuts_max_tokens && sampling.max_tokens.value_or(0) > limits.model_tokens_max) {
    check.fail(context_too_long(name, limits.model_tokens_max,
                                fmt::format("'{}' asks for {} tokens", name, *sampling.max_tokens)));
  }
  check.integer(name, sampling.max_tokens, may_be_empty ? 0 : 1,
                request.cuts_max_tokens ? std::numeric_limits<std::int32_t>::max() : limits.model_tokens_max);
  check_field("min_tokens", request, limits, check);
  if (sampling.min_tokens && sampling.max_tokens && *sampling.min_tokens > *sampling.max_tokens) {
    check.fail(bad_value("min_tokens", fmt::format("'min_tokens' must not be larger than '{}'", name)));
  }
}

void check_token_lists(const SamplingFields& sampling, const RequestLimits& limits, Checker& check) {
  check.size("stop_token_ids", sampling.stop_token_ids.size(), limits.stop_tokens_max, "tokens");
  check.size("logit_bias", sampling.logit_bias.size(), limits.logit_bias_max, "entries");
  if (check.failed()) {
    return;
  }
  for (const std::int64_t token : sampling.stop_token_ids) {
    check.integer("stop_token_ids", token, 0, limits.vocab - 1);
  }
  for (const auto& [token, bias] : sampling.logit_bias) {
    if (token < 0 || token >= limits.vocab) {
      check.fail(bad_value("logit_bias", fmt::format("'logit_bias' names token {}; the model has tokens 0 to {}", token,
                                                     limits.vocab - 1)));
    }
    if (!(bias >= -kBiasMax && bias <= kBiasMax)) {
      check.fail(bad_value("logit_bias", fmt::format("'logit_bias' of token {} must be from {} to {}; got {}", token,
                                                     -kBiasMax, kBiasMax, bias)));
    }
  }
}

void check_choices(const GenerationRequest& request, const RequestLimits& limits, Checker& check) {
  check_field("n", request, limits, check);
  check.integer("best_of", request.best_of, 1, limits.choices_max);
  if (check.failed()) {
    return;
  }
  const std::int64_t choices = request.best_of.value_or(request.n);
  check.require(choices >= request.n, "best_of", "'best_of' must not be smaller than 'n'");
  check.require(!request.stream || choices == request.n, "best_of",
                "'best_of' larger than 'n' cannot be streamed: the best is known only at the end");
  const auto prompts = static_cast<std::int64_t>(request.prompts.size());
  if (prompts * choices > limits.total_choices_max) {
    check.fail(bad_value(request.best_of ? "best_of" : "n",
                         fmt::format("{} prompts with {} choices each are more than {} answers in one request", prompts,
                                     choices, limits.total_choices_max)));
  }
}

void check_stops(const GenerationRequest& request, const RequestLimits& limits, Checker& check) {
  const char* const name = names_of(request).stop;
  check.size(name, request.stop.size(), limits.stop_max, "strings");
  std::size_t total = 0;
  for (const std::string& stop : request.stop) {
    if (stop.empty()) {
      check.fail(bad_value(name, fmt::format("'{}' must not hold an empty string", name)));
    }
    check.size(name, stop.size(), limits.stop_bytes_max, "bytes in each string");
    total += stop.size();
  }
  check.size(name, total, limits.stop_bytes_total_max, "bytes in all strings");
}

void check_logprobs(const GenerationRequest& request, const RequestLimits& limits, Checker& check) {
  check.integer(names_of(request).logprobs, request.top_logprobs, 0, limits.top_logprobs_max);
  check_field("prompt_logprobs", request, limits, check);
  check.require(!request.stream || request.streams_prompt_logprobs || !request.prompt_logprobs, "prompt_logprobs",
                "'prompt_logprobs' cannot be streamed: set 'stream' to false");
}

void check_prompts(const GenerationRequest& request, const RequestLimits& limits, Checker& check) {
  if (request.kind == RequestKind::kChat) {
    check.require(request.chat.messages != nullptr, names_of(request).prompt, "the conversation is missing");
    return;
  }
  check.require(!request.prompts.empty(), "prompt", "'prompt' must hold at least one prompt");
  check.require(!request.echo || request.suffix.empty(), "suffix",
                "'suffix' cannot be used with 'echo': the answer stands between the two");
  check.size("prompt", request.prompts.size(), limits.prompts_max, "prompts");
  for (const Prompt& prompt : request.prompts) {
    if (check.failed()) {
      return;
    }
    const auto* const ids = std::get_if<std::vector<TokenId>>(&prompt);
    if (ids == nullptr) {
      continue;
    }
    check.require(!ids->empty(), "prompt", "'prompt' must hold at least one token");
    for (const TokenId token : *ids) {
      check.integer("prompt", token, 0, limits.vocab - 1);
    }
  }
}

// Depth is bounded by the parser.
std::size_t text_bytes(const Json& value) {
  constexpr std::size_t kNumberBytes = 8;  // characters of an ordinary number or of a bracket and a comma
  if (value.is_string()) {
    return value.get_ref<const std::string&>().size();
  }
  std::size_t bytes = kNumberBytes;
  if (value.is_array()) {
    for (const Json& item : value) {
      bytes += text_bytes(item);
    }
  } else if (value.is_object()) {
    for (const auto& [name, item] : value.items()) {
      bytes += name.size() + text_bytes(item);
    }
  }
  return bytes;
}

// A text that alone is more than all may have is one that the context would not take.
MaybeError check_one_text(const char* name, std::size_t bytes, const RequestLimits& limits) {
  if (limits.text_bytes_max == 0 || bytes <= static_cast<std::size_t>(limits.text_bytes_max)) {
    return std::nullopt;
  }
  return context_too_long(
      name, limits.model_tokens_max,
      fmt::format("'{}' has {} bytes, more than the {} that are taken for it", name, bytes, limits.text_bytes_max));
}

// The prediction cannot be longer than an answer; all texts together have a bound of their own.
MaybeError check_texts(const GenerationRequest& request, const RequestLimits& limits) {
  const auto& prompt_name = names_of(request).prompt;
  if (request.chat.messages != nullptr) {
    if (MaybeError error = check_one_text(prompt_name, text_bytes(*request.chat.messages), limits)) {
      return error;
    }
  }
  std::size_t bytes = text_bytes(request.chat);
  for (const Prompt& prompt : request.prompts) {
    if (const auto* const text = std::get_if<std::string>(&prompt)) {
      if (MaybeError error = check_one_text(prompt_name, text->size(), limits)) {
        return error;
      }
      bytes += text->size();
    }
  }
  bytes += request.suffix.size() * request.prompts.size();
  if (request.prediction) {
    if (MaybeError error = check_prompt_bytes("prediction", request.prediction->size(), limits)) {
      return error;
    }
    bytes += request.prediction->size();
  }
  return check_text_bytes(prompt_name, bytes, limits);
}

}  // namespace

MaybeError validate(const GenerationRequest& request, const RequestLimits& limits) {
  Checker check;
  check.size("model", request.model.size(), limits.name_bytes_max, "bytes");
  check.size("user", request.user.size(), limits.name_bytes_max, "bytes");
  check.size("cache_salt", request.cache_salt.size(), limits.name_bytes_max, "bytes");
  check.integer("priority", request.priority, std::numeric_limits<std::int32_t>::min(),
                std::numeric_limits<std::int32_t>::max());
  check_prompts(request, limits, check);
  check_choices(request, limits, check);
  check_sampling(request, limits, check);
  check_token_lists(request.sampling, limits, check);
  check_stops(request, limits, check);
  check_logprobs(request, limits, check);
  return check.failed() ? check.take() : check_texts(request, limits);
}

MaybeError validate(const base::SamplingChoices& sampling, const RequestLimits& limits) {
  Checker check;
  check_knobs(sampling, limits, check);
  return check.take();
}

MaybeError check_prompt_bytes(const char* name, std::size_t bytes, const RequestLimits& limits) {
  if (limits.token_bytes_max == 0) {
    return std::nullopt;
  }
  const std::int64_t bytes_max = limits.model_tokens_max * limits.token_bytes_max;
  if (bytes <= static_cast<std::size_t>(bytes_max)) {
    return std::nullopt;
  }
  return context_too_long(name, limits.model_tokens_max, fmt::format("'{}' of {} bytes is longer", name, bytes));
}

MaybeError check_text_bytes(const char* name, std::size_t bytes, const RequestLimits& limits) {
  if (limits.text_bytes_max == 0 || bytes <= static_cast<std::size_t>(limits.text_bytes_max)) {
    return std::nullopt;
  }
  ApiError error = too_large(fmt::format("the request has {} bytes of text; this server takes {} in one request", bytes,
                                         limits.text_bytes_max));
  error.param = name;
  return error;
}

std::size_t text_bytes(const ChatFields& chat) {
  std::size_t bytes = 0;
  for (const std::shared_ptr<const Json>& part : {chat.messages, chat.tools, chat.template_kwargs}) {
    bytes += part == nullptr ? 0 : text_bytes(*part);
  }
  return bytes;
}

}  // namespace coppice::openai
