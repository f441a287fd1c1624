// The first half of a session: prompts to tokens, lengths checked, requests submitted.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "server/access/api_keys.h"
#include "server/output/token_entry.h"
#include "server/sessions/sampling_map.h"
#include "server/sessions/session.h"

namespace coppice::server {
namespace {

constexpr std::int64_t kCompletionTokensDefault = 16;  // tokens; OpenAI's default for completions
constexpr int kRetryAfterSeconds = 1;                  // soon: one step of the engine may empty its queue

openai::ApiError prompt_too_long(const char* param, std::size_t tokens, std::int64_t model_tokens_max) {
  return openai::context_too_long(
      param, fmt::format("'{}' has {} tokens; this model's context is {} tokens, at least one of them for the answer",
                         param, tokens, model_tokens_max));
}

}  // namespace

openai::MaybeError Session::start(openai::GenerationRequest request, const std::string& tenant) {
  request_ = std::move(request);
  tenant_ = tenant_of(tenant, request_.cache_salt);
  choices_per_prompt_ = request_.best_of.value_or(request_.n);
  if (openai::MaybeError error = host_.check_model(request_.model)) {
    return error;
  }
  if (openai::MaybeError error = tokenize_prompts()) {
    return error;
  }
  if (openai::MaybeError error = check_lengths()) {
    return error;
  }
  const engine::RequestId first_id = host_.take_request_ids(runs_.size());
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    runs_[i].id = first_id + i;
    make_choices(runs_[i]);
  }
  return submit();
}

openai::MaybeError Session::tokenize_prompts() {
  openai::Result<std::vector<TokenIds>> prompts = host_.encoder().encode(request_);
  if (!prompts.ok()) {
    return std::move(prompts.error());
  }
  for (TokenIds& tokens : prompts.value()) {
    runs_.emplace_back().tokens = std::move(tokens);
  }
  for (std::size_t i = 0; request_.echo && i < runs_.size(); ++i) {
    auto* const text = std::get_if<std::string>(&request_.prompts[i]);
    runs_[i].echo =
        text != nullptr ? std::move(*text) : host_.tokenizer->decode(runs_[i].tokens, request_.skip_special_tokens);
  }
  // The tokens stand for them from here on.
  request_.prompts.clear();
  request_.chat.messages.reset();
  return std::nullopt;
}

openai::MaybeError Session::check_lengths() {
  const bool is_chat = request_.kind == openai::RequestKind::kChat;
  const char* const prompt_name = is_chat ? "messages" : "prompt";
  const std::int64_t model_tokens_max = host_.request_limits.model_tokens_max;
  for (const PromptRun& run : runs_) {
    const auto prompt_tokens = static_cast<std::int64_t>(run.tokens.size());
    if (prompt_tokens == 0) {
      return openai::bad_value(prompt_name,
                               fmt::format("'{}' gives no tokens: this model needs at least one", prompt_name));
    }
    if (prompt_tokens >= model_tokens_max) {
      return prompt_too_long(prompt_name, run.tokens.size(), model_tokens_max);
    }
    const std::int64_t asked = request_.sampling.max_tokens.value_or(0);
    if (prompt_tokens + asked > model_tokens_max) {
      return openai::context_too_long(
          is_chat ? "max_completion_tokens" : "max_tokens",
          fmt::format("{} prompt tokens and {} to generate are {}; this model's context is {} tokens", prompt_tokens,
                      asked, prompt_tokens + asked, model_tokens_max));
    }
  }
  return std::nullopt;
}

std::int32_t Session::tokens_max(const PromptRun& run) const {
  const std::int64_t room = host_.request_limits.model_tokens_max - static_cast<std::int64_t>(run.tokens.size());
  const bool is_chat = request_.kind == openai::RequestKind::kChat;
  const std::int64_t otherwise = is_chat ? room : std::min(room, kCompletionTokensDefault);
  return static_cast<std::int32_t>(request_.sampling.max_tokens.value_or(otherwise));
}

void Session::make_choices(PromptRun& run) {
  const text::Detokenizer primed = host_.encoder().decoder_after(run.tokens, request_.skip_special_tokens);
  run.choices.reserve(static_cast<std::size_t>(choices_per_prompt_));
  for (std::int64_t i = 0; i < choices_per_prompt_; ++i) {
    std::unique_ptr<OutputParser> parser = make_output_parser(request_, fmt::format("call_{:x}_{}_", run.id, i));
    run.choices.push_back(
        {ChoiceStream(*host_.tokenizer, request_, primed, std::move(parser), count_characters(run.echo))});
  }
}

engine::Request Session::make_engine_request(const PromptRun& run) const {
  engine::Request out;
  out.id = run.id;
  out.prompt = run.tokens;
  out.sampling = map_sampling(request_, host_.defaults, tokens_max(run));
  out.choices = static_cast<std::int32_t>(choices_per_prompt_);
  out.priority = static_cast<std::int32_t>(request_.priority);
  out.tenant = tenant_;
  if (host_.request_timeout.count() > 0) {
    out.deadline = meter_.arrival() + host_.request_timeout;
  }
  if (request_.prediction && !request_.prediction->empty()) {
    openai::Result<TokenIds> tokens = host_.encoder().encode_output("prediction", *request_.prediction);
    if (tokens.ok()) {
      out.prediction = std::move(tokens.value());  // a prediction that cannot be read only costs its speed-up
    }
  }
  out.events = hub_.queue();
  return out;
}

openai::MaybeError Session::submit() {
  for (PromptRun& run : runs_) {
    hub_.remember(run.id, *this);
    if (!host_.engine->submit(make_engine_request(run))) {
      leave();
      ended_ = true;
      return openai::overloaded("the server's queue is full; try again later", kRetryAfterSeconds);
    }
    run.is_submitted = true;
    choices_left_ += run.choices.size();
  }
  return std::nullopt;
}

}  // namespace coppice::server
