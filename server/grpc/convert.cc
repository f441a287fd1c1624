// Field by field between inference.proto and the shared structs.
#include "server/grpc/convert.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "proto/openai/parse_request.h"

namespace coppice::server {

using openai::Json;

namespace {

void add_sampling(const v1::SamplingParameters& sampling, Json& body) {
  const auto add = [&body](const char* name, bool given, auto value) {
    if (given) {
      body[name] = value;
    }
  };
  add("temperature", sampling.has_temperature(), sampling.temperature());
  add("top_k", sampling.has_top_k(), sampling.top_k());
  add("top_p", sampling.has_top_p(), sampling.top_p());
  add("min_p", sampling.has_min_p(), sampling.min_p());
  add("repetition_penalty", sampling.has_repetition_penalty(), sampling.repetition_penalty());
  add("presence_penalty", sampling.has_presence_penalty(), sampling.presence_penalty());
  add("frequency_penalty", sampling.has_frequency_penalty(), sampling.frequency_penalty());
  add("seed", sampling.has_seed(), sampling.seed());
  add("max_tokens", sampling.has_max_tokens(), sampling.max_tokens());
  add("min_tokens", sampling.has_min_tokens(), sampling.min_tokens());
  add("ignore_eos", sampling.has_ignore_eos(), sampling.ignore_eos());
  add("n", sampling.has_n(), sampling.n());
  add("best_of", sampling.has_best_of(), sampling.best_of());
  add("prompt_logprobs", sampling.has_prompt_logprobs(), sampling.prompt_logprobs());
  add("include_stop_str_in_output", sampling.has_include_stop(), sampling.include_stop());
  add("skip_special_tokens", sampling.has_skip_special_tokens(), sampling.skip_special_tokens());
  if (!sampling.logit_bias().empty()) {
    Json& biases = body["logit_bias"] = Json::object();
    for (const auto& [token, bias] : sampling.logit_bias()) {
      biases[std::to_string(token)] = bias;
    }
  }
  if (!sampling.stop().empty()) {
    body["stop"] = std::vector<std::string>(sampling.stop().begin(), sampling.stop().end());
  }
  if (!sampling.stop_token_ids().empty()) {
    body["stop_token_ids"] =
        std::vector<std::int32_t>(sampling.stop_token_ids().begin(), sampling.stop_token_ids().end());
  }
}

void add_text(Json& body, const char* name, const std::string& text) {
  if (!text.empty()) {
    body[name] = text;
  }
}

template <typename Request>
void add_common(const Request& request, Json& body) {
  body["stream"] = true;
  add_text(body, "model", request.model());
  add_text(body, "cache_salt", request.cache_salt());
  add_text(body, "user", request.user());
  if (request.has_priority()) {
    body["priority"] = request.priority();
  }
  if (!request.prediction().empty()) {
    body["prediction"] = {{"type", "content"}, {"content", request.prediction()}};
  }
  add_sampling(request.sampling(), body);
}

// A field that holds JSON text. ERRORS: 400 naming the field.
openai::MaybeError add_json(Json& body, const char* name, const char* field, const std::string& text) {
  if (text.empty()) {
    return std::nullopt;
  }
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) {
    return openai::bad_value(field, std::string(field) + " must be JSON text");
  }
  body[name] = std::move(value);
  return std::nullopt;
}

openai::MaybeError add_message(const v1::ChatMessage& message, Json& messages) {
  Json entry = {{"role", message.role()}, {"content", message.content()}};
  add_text(entry, "name", message.name());
  add_text(entry, "tool_call_id", message.tool_call_id());
  if (openai::MaybeError error = add_json(entry, "tool_calls", "tool_calls_json", message.tool_calls_json())) {
    return error;
  }
  messages.push_back(std::move(entry));
  return std::nullopt;
}

}  // namespace

openai::Result<openai::GenerationRequest> from_proto(const v1::GenerateRequest& request,
                                                     const openai::RequestLimits& limits) {
  Json body = Json::object();
  add_common(request, body);
  if (request.prompt_case() == v1::GenerateRequest::kTokenIds) {
    body["prompt"] = std::vector<std::int32_t>(request.token_ids().ids().begin(), request.token_ids().ids().end());
  } else if (request.prompt_case() == v1::GenerateRequest::kText) {
    body["prompt"] = request.text();
  }
  if (request.has_echo()) {
    body["echo"] = request.echo();
  }
  if (request.sampling().has_logprobs()) {
    body["logprobs"] = request.sampling().logprobs();
  }
  return openai::parse_completion_request(body.dump(), limits);
}

openai::Result<openai::GenerationRequest> from_proto(const v1::ChatRequest& request,
                                                     const openai::RequestLimits& limits) {
  Json body = Json::object();
  add_common(request, body);
  Json& messages = body["messages"] = Json::array();
  for (const v1::ChatMessage& message : request.messages()) {
    if (openai::MaybeError error = add_message(message, messages)) {
      return *std::move(error);
    }
  }
  if (request.sampling().has_logprobs()) {
    body["logprobs"] = true;
    body["top_logprobs"] = request.sampling().logprobs();
  }
  if (openai::MaybeError error = add_json(body, "tools", "tools_json", request.tools_json())) {
    return *std::move(error);
  }
  if (openai::MaybeError error = add_json(body, "chat_template_kwargs", "chat_template_arguments_json",
                                          request.chat_template_arguments_json())) {
    return *std::move(error);
  }
  return openai::parse_chat_request(body.dump(), limits);
}

grpc::Status to_status(const openai::ApiError& error) {
  static constexpr std::pair<int, grpc::StatusCode> kCodes[] = {
      {400, grpc::StatusCode::INVALID_ARGUMENT}, {401, grpc::StatusCode::UNAUTHENTICATED},
      {404, grpc::StatusCode::NOT_FOUND},        {408, grpc::StatusCode::DEADLINE_EXCEEDED},
      {413, grpc::StatusCode::INVALID_ARGUMENT}, {429, grpc::StatusCode::RESOURCE_EXHAUSTED},
      {499, grpc::StatusCode::CANCELLED},        {503, grpc::StatusCode::UNAVAILABLE}};
  const auto* const found = std::find_if(std::begin(kCodes), std::end(kCodes),
                                         [&error](const auto& entry) { return entry.first == error.status; });
  const grpc::StatusCode code = found == std::end(kCodes) ? grpc::StatusCode::INTERNAL : found->second;
  return {code, error.message};
}

}  // namespace coppice::server
