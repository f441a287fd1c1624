// From JSON fields to GenerationRequest. One function a group of fields; the first wrong field ends the reading.
#include "proto/openai/parse_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "proto/openai/json_reader.h"
#include "proto/openai/normalise_message.h"
#include "proto/openai/parse_chat.h"
#include "proto/openai/parse_sampling.h"
#include "proto/openai/request_fields.h"
#include "proto/openai/service_fields.h"

namespace coppice::openai {
namespace {

void read_stream(FieldReader& reader, GenerationRequest& request) {
  reader.read("stream", request.stream);
  const Json* const options = reader.find("stream_options");
  if (options == nullptr) {
    return;
  }
  if (!options->is_object()) {
    reader.fail_type("stream_options", "an object", *options);
    return;
  }
  if (!request.stream) {
    reader.fail(bad_value("stream_options", "'stream_options' is only allowed when 'stream' is true"));
    return;
  }
  FieldReader inner(*options, "stream_options.");
  inner.read("include_usage", request.include_usage);
  inner.read("continuous_usage_stats", request.continuous_usage);
  if (inner.failed()) {
    reader.fail(*inner.error());
  }
}

void read_prediction(FieldReader& reader, GenerationRequest& request) {
  const Json* const prediction = reader.find("prediction");
  if (prediction == nullptr) {
    return;
  }
  const auto content = prediction->is_object() ? prediction->find("content") : prediction->end();
  if (!prediction->is_object() || content == prediction->end()) {
    reader.fail_type("prediction", "an object with 'type' \"content\" and a 'content'", *prediction);
    return;
  }
  if (const auto type = prediction->find("type"); type != prediction->end() && !type->is_null() && *type != "content") {
    reader.fail(
        bad_value("prediction.type", fmt::format("'prediction.type' must be \"content\"; got {}", describe(*type))));
    return;
  }
  request.prediction = read_content(*content, "prediction.content", reader);
}

void read_common(FieldReader& reader, const RequestLimits& limits, GenerationRequest& request) {
  reader.read("model", request.model);
  refuse_unsupported(reader);
  read_response_format(reader, limits, request);
  read_sampling(reader, limits, request);
  for_each_request_field(request, [&](const RequestField& field, auto& value) { reader.read(field.name, value); });
  read_stop(reader, "stop", limits, request.stop);
  read_stream(reader, request);
  reader.read("return_token_ids", request.return_token_ids);
  reader.read("return_tokens_as_token_ids", request.tokens_as_ids);
  read_prediction(reader, request);
}

// One prompt of token ids. False after a failure.
bool read_token_prompt(const Json& tokens, FieldReader& reader, std::vector<TokenId>& ids) {
  ids.reserve(tokens.size());
  for (const Json& token : tokens) {
    const std::optional<std::int64_t> id = as_integer(token);
    if (!id.has_value() || *id < 0 || *id > std::numeric_limits<TokenId>::max()) {
      reader.fail(wrong_prompt(describe(token)));
      return false;
    }
    ids.push_back(static_cast<TokenId>(*id));
  }
  return true;
}

// Takes the texts out of `body`.
void take_prompts(Json& body, FieldReader& reader, const RequestLimits& limits, GenerationRequest& request) {
  const auto prompt = body.find("prompt");
  if (prompt == body.end() || prompt->is_null()) {
    reader.fail(missing_prompt());
    return;
  }
  if (prompt->is_string()) {
    request.prompts.emplace_back(std::move(prompt->get_ref<std::string&>()));
    return;
  }
  if (!prompt->is_array() || prompt->empty()) {
    reader.fail(wrong_prompt(describe(*prompt)));
    return;
  }
  if (is_number(prompt->front())) {
    std::vector<TokenId> ids;
    if (read_token_prompt(*prompt, reader, ids)) {
      request.prompts.emplace_back(std::move(ids));
    }
    return;
  }
  if (prompt->size() > static_cast<std::size_t>(limits.prompts_max)) {
    reader.fail(bad_value(
        "prompt", fmt::format("'prompt' must have at most {} prompts; got {}", limits.prompts_max, prompt->size())));
    return;
  }
  for (Json& item : *prompt) {
    std::vector<TokenId> ids;
    if (item.is_string()) {
      request.prompts.emplace_back(std::move(item.get_ref<std::string&>()));
    } else if (!item.is_array()) {
      reader.fail(wrong_prompt(describe(item)));
      return;
    } else if (read_token_prompt(item, reader, ids)) {
      request.prompts.emplace_back(std::move(ids));
    }
  }
}

// Hands the body's fields to `read`, which returns through the reader; then validates.
template <typename Read>
Result<GenerationRequest> read_generation(Json body, const RequestLimits& limits, Read read) {
  if (!body.is_object()) {
    return bad_value("", "the request body must be a JSON object; got " + describe(body));
  }
  GenerationRequest request;
  ServiceFields service;
  FieldReader reader(body);
  read(body, reader, request);
  read_service(reader, service);
  if (reader.failed()) {
    return *reader.error();
  }
  if (MaybeError error = apply_service(service, request)) {
    return std::move(*error);
  }
  note_unknown(reader, {}, request.ignored);
  if (MaybeError error = validate(request, limits)) {
    return std::move(*error);
  }
  return request;
}

}  // namespace

ApiError missing_prompt() {
  return bad_value("prompt", "'prompt' is missing: send text, token ids, or an array of them");
}

ApiError wrong_prompt(const std::string& got) {
  return bad_value("prompt",
                   "'prompt' must be text, an array of texts, of token ids, or of arrays of token ids; got " + got);
}

Result<GenerationRequest> parse_completion_request(std::string_view body, const RequestLimits& limits) {
  Result<Json> parsed = parse_json(body, limits);
  return parsed.ok() ? read_completion_request(std::move(parsed.value()), limits) : std::move(parsed.error());
}

Result<GenerationRequest> parse_chat_request(std::string_view body, const RequestLimits& limits) {
  Result<Json> parsed = parse_json(body, limits);
  return parsed.ok() ? read_chat_request(std::move(parsed.value()), limits) : std::move(parsed.error());
}

Result<GenerationRequest> read_completion_request(Json body, const RequestLimits& limits) {
  return read_generation(std::move(body), limits, [&](Json& fields, FieldReader& reader, GenerationRequest& request) {
    request.kind = RequestKind::kCompletion;
    (void)reader.has("prompt");  // which is taken out of the body
    take_prompts(fields, reader, limits, request);
    read_common(reader, limits, request);
    constexpr IgnoredField kIgnored[] = {{"parallel_tool_calls", "true"}};
    request.ignored.add_present(reader, kIgnored);
    for (const char* const name : {"functions", "function_call"}) {
      const Json* const value = reader.find(name);
      if (value != nullptr && !is_empty(*value) && *value != "none" && *value != "auto") {
        reader.fail(unsupported_field(name));
      }
    }
    reader.read("best_of", request.best_of);
    reader.read("echo", request.echo);
    reader.read("logprobs", request.top_logprobs);
    reader.read("parse_special", request.parse_special);
    reader.read("suffix", request.suffix);
  });
}

Result<GenerationRequest> read_chat_request(Json body, const RequestLimits& limits) {
  return read_generation(std::move(body), limits, [&](Json& fields, FieldReader& reader, GenerationRequest& request) {
    request.kind = RequestKind::kChat;
    for (const char* const taken : {"messages", "tools", "functions", "chat_template_kwargs"}) {
      (void)reader.has(taken);  // what is taken out of the body is read, too
    }
    take_chat_fields(fields, reader, limits, request.chat);
    read_common(reader, limits, request);
    std::optional<std::int64_t> completion_tokens;
    reader.read("max_completion_tokens", completion_tokens);
    if (completion_tokens.has_value()) {
      request.sampling.max_tokens = completion_tokens;  // the newer name wins
      request.sampling.max_tokens_name = "max_completion_tokens";
    }
    bool logprobs = false;
    reader.read("logprobs", logprobs);
    reader.read("top_logprobs", request.top_logprobs);
    if (request.top_logprobs.value_or(0) != 0 && !logprobs) {
      reader.fail(bad_value("top_logprobs", "'top_logprobs' needs 'logprobs' to be true"));
    }
    request.top_logprobs = logprobs ? std::optional(request.top_logprobs.value_or(0)) : std::nullopt;
    if (const Json* const suffix = reader.find("suffix"); suffix != nullptr && !is_empty(*suffix)) {
      reader.fail(unsupported_field("suffix"));
    }
  });
}

Result<TokenizeRequest> parse_tokenize_request(std::string_view body, const RequestLimits& limits) {
  Result<Json> parsed = parse_json(body, limits);
  if (!parsed.ok()) {
    return std::move(parsed.error());
  }
  FieldReader reader(parsed.value());
  TokenizeRequest request;
  reader.read("model", request.model);
  reader.read("add_special_tokens", request.add_special_tokens);
  reader.read("parse_special", request.parse_special);
  reader.read("return_token_strs", request.return_token_strs);
  request.is_chat = reader.has("messages");
  if (request.is_chat) {
    take_chat_fields(parsed.value(), reader, limits, request.chat);
  } else if (reader.has("prompt")) {
    reader.read("prompt", request.prompt);
  } else if (reader.has("content")) {
    request.prompt_name = "content";  // llama.cpp's name
    reader.read("content", request.prompt);
  } else {
    reader.fail(bad_value("prompt", "'prompt' (a string) or 'messages' is missing"));
  }
  if (reader.failed()) {
    return *reader.error();
  }
  if (MaybeError error = check_text_bytes(request.is_chat ? "messages" : request.prompt_name,
                                          request.prompt.size() + text_bytes(request.chat), limits)) {
    return std::move(*error);
  }
  return request;
}

Result<DetokenizeRequest> parse_detokenize_request(std::string_view body, const RequestLimits& limits) {
  Result<Json> parsed = parse_json(body, limits);
  if (!parsed.ok()) {
    return std::move(parsed.error());
  }
  FieldReader reader(parsed.value());
  DetokenizeRequest request;
  reader.read("model", request.model);
  reader.read("skip_special_tokens", request.skip_special_tokens);
  const Json* const tokens = reader.find("tokens");
  if (tokens == nullptr || !tokens->is_array()) {
    reader.fail(bad_value("tokens", "'tokens' must be an array of token ids"));
    return *reader.error();
  }
  const std::int64_t count_max = std::max(limits.detokenize_tokens_max, limits.model_tokens_max);
  if (tokens->size() > static_cast<std::size_t>(count_max)) {
    return bad_value("tokens", fmt::format("'tokens' must have at most {} ids; got {}", count_max, tokens->size()));
  }
  for (const Json& token : *tokens) {
    const std::optional<std::int64_t> id = as_integer(token);
    if (!id.has_value() || *id < 0 || *id >= limits.vocab) {
      return bad_value("tokens",
                       fmt::format("'tokens' must hold ids from 0 to {}; got {}", limits.vocab - 1, describe(token)));
    }
    request.tokens.push_back(static_cast<TokenId>(*id));
  }
  if (reader.failed()) {
    return *reader.error();
  }
  return request;
}

}  // namespace coppice::openai
