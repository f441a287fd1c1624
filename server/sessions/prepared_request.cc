// Prompts to tokens, lengths, and the bill for memory.
#include "server/sessions/prepared_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/release.h"
#include "server/prompts/prefix_places.h"
#include "server/sessions/prepare_answer.h"

namespace coppice::server {
namespace {

constexpr std::size_t kTreeFactor = 24;       // bytes of JSON tree for a byte of text, at worst: "[],[],"
constexpr std::size_t kTreeCopies = 2;        // the tree, and what the template reads
constexpr std::size_t kChoiceBytes = 1024;    // a choice's streams and parser
constexpr std::size_t kTokenCopies = 2;       // of a prompt: the session's and the engine's
constexpr std::size_t kPredictedBytes = 80;   // of the index in which a predicted token is found again
constexpr std::size_t kMatcherBytes = 16384;  // of where a choice stands in its grammar
constexpr std::size_t kEntryBytes = 64;       // of JSON for one logprob
constexpr std::size_t kAnswerCopies = 4;      // entries, JSON, response, socket: what an answer takes at its peak

openai::MaybeError check_lengths(const PreparedRequest& prepared, std::int64_t model_tokens_max) {
  const openai::GenerationRequest& request = prepared.request;
  const char* const name = openai::names_of(request).prompt;
  for (const PreparedRequest::Prompt& prompt : prepared.prompts) {
    const auto prompt_tokens = static_cast<std::int64_t>(prompt.tokens.size());
    if (prompt_tokens == 0) {
      return openai::bad_value(name, fmt::format("'{}' gives no tokens: this model needs at least one", name));
    }
    if (prompt_tokens >= model_tokens_max) {
      return openai::context_too_long(
          name, model_tokens_max,
          fmt::format("your {} resulted in {} tokens, and at least one is for the answer", name, prompt_tokens));
    }
    const std::int64_t asked = request.cuts_max_tokens ? 0 : request.sampling.max_tokens.value_or(0);
    if (prompt_tokens + asked > model_tokens_max) {
      return openai::context_too_long(
          request.sampling.max_tokens_name, model_tokens_max,
          fmt::format(
              "you requested {} tokens ({} in the {}, {} in the completion). Reduce the length of the {} or '{}'",
              prompt_tokens + asked, prompt_tokens, name, asked, name, request.sampling.max_tokens_name));
    }
  }
  return std::nullopt;
}

// What the answer says about the prompts: their logprobs, and their text and its logprobs again for every choice.
openai::Result<std::size_t> prompt_answer_bytes(const PreparedRequest& prepared, const openai::RequestLimits& limits) {
  const openai::GenerationRequest& request = prepared.request;
  std::size_t tokens = 0;
  std::size_t echo = 0;
  for (const PreparedRequest::Prompt& prompt : prepared.prompts) {
    tokens += prompt.tokens.size();
    echo += prompt.echo.size();
  }
  const auto entries = [tokens](std::int64_t top) { return tokens * static_cast<std::size_t>(top + 1) * kEntryBytes; };
  std::size_t bytes = request.prompt_logprobs ? entries(*request.prompt_logprobs) : 0;
  if (request.echo) {
    const auto answers = static_cast<std::size_t>(request.best_of.value_or(request.n));
    bytes += answers * (echo + (request.top_logprobs ? entries(*request.top_logprobs) : 0));
  }
  if (bytes > static_cast<std::size_t>(limits.prompt_answer_bytes_max)) {
    const char* const param = request.prompt_logprobs ? "prompt_logprobs" : "echo";
    return openai::bad_value(param, fmt::format("'{}' of {} prompt tokens would make an answer of about {} bytes; at "
                                                "most {} are allowed (--max-prompt-answer)",
                                                param, tokens, bytes, limits.prompt_answer_bytes_max));
  }
  return bytes;
}

openai::MaybeError encode_prediction(PreparedRequest& prepared, const ModelHost& host, const JobContext& job) {
  if (!prepared.request.prediction || prepared.request.prediction->empty()) {
    return std::nullopt;
  }
  openai::Result<TokenIds> tokens = host.encoder().encode_output("prediction", *prepared.request.prediction, job);
  if (!tokens.ok()) {
    if (tokens.error().status != 400) {
      return std::move(tokens.error());
    }
    return std::nullopt;  // a prediction that cannot be read only costs its speed-up
  }
  const std::int64_t tokens_max = host.request_limits.model_tokens_max;
  if (tokens.value().size() > static_cast<std::size_t>(tokens_max)) {
    return openai::bad_value("prediction", fmt::format("'prediction' has {} tokens; at most {} are allowed",
                                                       tokens.value().size(), tokens_max));
  }
  prepared.prediction = std::move(tokens.value());
  prepared.request.prediction.reset();
  return std::nullopt;
}

// The prompter speaks of 'messages'; the request's API may call the conversation something else.
openai::ApiError renamed(openai::ApiError error, const openai::GenerationRequest& request) {
  constexpr std::string_view kChatName = "messages";
  const std::string_view name = openai::names_of(request).prompt;
  if (error.param == kChatName && name != kChatName) {
    error.param = name;
    const std::string quoted = fmt::format("'{}'", kChatName);
    if (const std::size_t at = error.message.find(quoted); at != std::string::npos) {
      error.message.replace(at, quoted.size(), fmt::format("'{}'", name));
    }
  }
  return error;
}

std::size_t token_bytes(const PreparedRequest& prepared) {
  std::size_t tokens = prepared.prediction.size() * prepared.prompts.size();
  for (const PreparedRequest::Prompt& prompt : prepared.prompts) {
    tokens += prompt.tokens.size();
  }
  return tokens * sizeof(TokenId) * kTokenCopies;
}

// The text of tokens without half a character at their end.
std::string certain_text(const TokenIds& tokens, const openai::GenerationRequest& request, const ModelHost& host) {
  text::Detokenizer decoder(*host.tokenizer, {.skip_special = request.skip_special_tokens});
  std::string text;
  for (const TokenId token : tokens) {
    text += decoder.push(token);
  }
  return text;
}

// Nothing is kept here: the fields that ask for it have no effect.
void name_unkept(openai::GenerationRequest& request) {
  if (!request.cache_breakpoints.empty()) {
    const bool is_anthropic = request.names == &openai::kMessagesNames;
    request.ignored.add(is_anthropic ? "cache_control" : "prompt_cache_breakpoint");
  }
  if (request.cache_control.keeps_prompt.count() > 0) {
    request.ignored.add(request.cache_control.field);
  }
}

// What of each prompt the prefix cache shall keep: up to the breakpoints of a conversation, and all of it.
std::vector<std::vector<engine::KeepPrefix>> find_keeps(openai::GenerationRequest& request,
                                                        const std::vector<TokenIds>& prompts, const ModelHost& host,
                                                        const JobContext& job) {
  std::vector<std::vector<engine::KeepPrefix>> keeps(prompts.size());
  if (host.engine_limits.kept.account_pages == 0) {
    name_unkept(request);
    return keeps;
  }
  if (!request.cache_breakpoints.empty()) {
    const std::vector<std::int32_t> places = find_places(request, prompts.front(), host.encoder(), job);
    for (std::size_t i = 0; i < places.size(); ++i) {
      keeps.front().push_back({places[i], request.cache_breakpoints[i].time_to_live});
    }
  }
  if (request.cache_control.keeps_prompt.count() > 0) {
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      keeps[i].push_back({static_cast<std::int32_t>(prompts[i].size()), request.cache_control.keeps_prompt});
    }
  }
  return keeps;
}

// The grammar of what the output has to match, if it is compiled already.
openai::MaybeError find_grammar(PreparedRequest& prepared, const ModelHost& host) {
  if (prepared.request.format.is_free()) {
    return std::nullopt;
  }
  if (host.grammars == nullptr) {
    return openai::not_supported(prepared.request.format.field,
                                 fmt::format("'{}' is not supported by this server", prepared.request.format.field));
  }
  auto order = OutputGrammars::order(std::exchange(prepared.request.format, {}));
  if (!order.ok()) {
    return std::move(order.error());
  }
  if (const std::shared_ptr<const GrammarSource> found = host.grammars->find(*order.value())) {
    prepared.hold_to(found);
  } else {
    prepared.order = std::move(order.value());
  }
  return std::nullopt;
}

// Takes the tokens out of `tokens` and the texts to be repeated out of the request.
void take_prompts(PreparedRequest& prepared, std::vector<TokenIds> tokens, const ModelHost& host) {
  openai::GenerationRequest& request = prepared.request;
  prepared.prompts.resize(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    prepared.prompts[i].tokens = std::move(tokens[i]);
    if (request.echo) {
      auto* const text = std::get_if<std::string>(&request.prompts[i]);
      prepared.prompts[i].has_open_echo = text == nullptr;
      prepared.prompts[i].echo =
          text != nullptr ? std::move(*text) : certain_text(prepared.prompts[i].tokens, request, host);
    }
  }
  base::release(request.prompts);
  base::release(request.suffix);
  request.chat.messages.reset();
  request.chat.tools.reset();
  request.chat.template_kwargs.reset();
}

}  // namespace

void PreparedRequest::hold_to(const std::shared_ptr<const GrammarSource>& grammar) {
  order.reset();
  is_held = true;
  if (unenforced.empty()) {
    unenforced = unenforced_header(grammar->grammar().unenforced());
  }
  constraint = grammar;
  if (reasoning != nullptr) {
    constraint =
        std::make_shared<const ReasoningSource>(*reasoning, reasoning_start, request.chat.thinking_budget, grammar);
  }
}

openai::MaybeError compile_here(PreparedRequest& prepared, const ModelHost& host) {
  if (prepared.order == nullptr) {
    return std::nullopt;
  }
  const OutputGrammars::Grammar grammar = host.grammars->get(prepared.order);
  if (!grammar.ok()) {
    return grammar.error();
  }
  prepared.hold_to(grammar.value());
  return std::nullopt;
}

std::size_t parsing_bytes(std::size_t body_bytes, const openai::RequestLimits& limits) {
  return std::min(body_bytes * kTreeFactor, limits.json_tree_bytes_max) * kTreeCopies;
}

openai::Result<std::int64_t> count_prompt_tokens(const openai::GenerationRequest& request, const ModelHost& host,
                                                 const JobContext& job) {
  if (openai::MaybeError error = host.check_model(request.model)) {
    return *std::move(error);
  }
  const openai::Result<std::vector<TokenIds>> prompts = host.encoder().encode(request, job);
  if (!prompts.ok()) {
    return renamed(prompts.error(), request);
  }
  std::int64_t tokens = 0;
  for (const TokenIds& prompt : prompts.value()) {
    tokens += static_cast<std::int64_t>(prompt.size());
  }
  return tokens;
}

openai::Result<PreparedRequest> prepare(openai::GenerationRequest request, const ModelHost& host,
                                        const JobContext& job) {
  if (openai::MaybeError error = host.check_model(request.model)) {
    return *std::move(error);
  }
  PreparedRequest prepared;
  prepared.request = std::move(request);
  openai::Result<std::vector<TokenIds>> tokens = host.encoder().encode(prepared.request, job);
  if (!tokens.ok()) {
    return renamed(std::move(tokens.error()), prepared.request);
  }
  if (prepared.request.kind == openai::RequestKind::kChat) {
    if (openai::MaybeError error = prepare_answer(prepared, tokens.value().front(), host)) {
      return *std::move(error);
    }
  }
  std::vector<std::vector<engine::KeepPrefix>> keeps = find_keeps(prepared.request, tokens.value(), host, job);
  take_prompts(prepared, std::move(tokens.value()), host);
  for (std::size_t i = 0; i < keeps.size(); ++i) {
    prepared.prompts[i].keeps = std::move(keeps[i]);
  }
  if (openai::MaybeError error = check_lengths(prepared, host.request_limits.model_tokens_max)) {
    return *std::move(error);
  }
  if (openai::MaybeError error = encode_prediction(prepared, host, job)) {
    return *std::move(error);
  }
  if (openai::MaybeError error = find_grammar(prepared, host)) {
    return *std::move(error);
  }
  bound_thinking(prepared, host);
  const openai::Result<std::size_t> answer = prompt_answer_bytes(prepared, host.request_limits);
  if (!answer.ok()) {
    return answer.error();
  }
  const auto choices = static_cast<std::size_t>(prepared.request.best_of.value_or(prepared.request.n));
  prepared.held_bytes = token_bytes(prepared) + prepared.prediction.size() * kPredictedBytes +
                        prepared.prompts.size() * choices * kChoiceBytes + answer.value() * kAnswerCopies;
  if (prepared.constraint != nullptr || prepared.order != nullptr) {
    prepared.held_bytes += prepared.prompts.size() * choices * kMatcherBytes;
  }
  const std::size_t compiling = prepared.order == nullptr ? 0 : OutputGrammars::compile_bytes(*prepared.order);
  if (openai::MaybeError error = job.hold(prepared.held_bytes + compiling)) {
    return *std::move(error);
  }
  if (job.is_cancelled()) {
    return openai::cancelled();
  }
  return prepared;
}

}  // namespace coppice::server
