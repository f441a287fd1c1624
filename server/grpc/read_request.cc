// Plain fields are found by the names in the tables. Only what is JSON by nature is JSON here: messages, which chat
// templates read as JSON, and the fields that carry it as text.
#include "server/grpc/read_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "proto/openai/json_reader.h"
#include "proto/openai/parse_chat.h"
#include "proto/openai/parse_request.h"
#include "proto/openai/request_fields.h"
#include "proto/openai/service_fields.h"

namespace coppice::server {
namespace {

using openai::Json;

// Levels of an HTTP body around the same value: the body; the body, the list of messages and the message.
constexpr std::size_t kBodyLevels = 1;
constexpr std::size_t kMessageLevels = 3;

// The number that a client wrote: the shortest decimal of a float, so that 0.7 is 0.7 as over HTTP.
double as_written(float number) {
  return std::strtod(fmt::format("{}", number).c_str(), nullptr);
}

// Reads the set fields of a message by name; a field that is not set leaves the output as it is.
class ProtoReader {
 public:
  explicit ProtoReader(const google::protobuf::Message& message) : message_(message) {}

  void read(const char* name, std::optional<double>& out) const {
    if (const auto* const field = find(name)) {
      out = as_written(reflection().GetFloat(message_, field));
    }
  }
  void read(const char* name, std::optional<std::int64_t>& out) const {
    if (const auto* const field = find(name)) {
      out = reflection().GetInt32(message_, field);
    }
  }
  void read(const char* name, std::int64_t& out) const {
    std::optional<std::int64_t> value;
    read(name, value);
    out = value.value_or(out);
  }
  void read(const char* name, bool& out) const {
    if (const auto* const field = find(name)) {
      out = reflection().GetBool(message_, field);
    }
  }

 private:
  const google::protobuf::Reflection& reflection() const { return *message_.GetReflection(); }

  const google::protobuf::FieldDescriptor* find(const char* name) const {
    const google::protobuf::FieldDescriptor* const field = message_.GetDescriptor()->FindFieldByName(name);
    COPPICE_CHECK(field != nullptr, "a field of the tables is missing in inference.proto");
    return reflection().HasField(message_, field) ? field : nullptr;
  }

  const google::protobuf::Message& message_;
};

void read_sampling(const v1::SamplingParameters& from, openai::GenerationRequest& to) {
  const ProtoReader reader(from);
  base::for_each_sampling_knob([&](const base::SamplingKnob& knob, auto& value) { reader.read(knob.name, value); },
                               to.sampling);
  openai::for_each_request_field(
      to, [&](const openai::RequestField& field, auto& value) { reader.read(field.proto_name, value); });
  if (from.has_seed()) {
    to.sampling.seed = static_cast<std::uint64_t>(from.seed());
  }
  for (const auto& [token, bias] : from.logit_bias()) {
    to.sampling.logit_bias.emplace_back(token, as_written(bias));
  }
  to.sampling.stop_token_ids.assign(from.stop_token_ids().begin(), from.stop_token_ids().end());
  to.stop.assign(from.stop().begin(), from.stop().end());
}

openai::ServiceFields read_service(const v1::ServiceOptions& from) {
  openai::ServiceFields to;
  const auto read = [](bool is_set, const std::string& value, std::optional<std::string>& out) {
    if (is_set) {
      out = value;
    }
  };
  read(from.has_service_tier(), from.service_tier(), to.service_tier);
  read(from.has_prompt_cache_key(), from.prompt_cache_key(), to.prompt_cache_key);
  read(from.has_prompt_cache_retention(), from.prompt_cache_retention(), to.prompt_cache_retention);
  read(from.has_safety_identifier(), from.safety_identifier(), to.safety_identifier);
  read(from.has_verbosity(), from.verbosity(), to.verbosity);
  if (from.has_prompt_cache_options()) {
    const v1::PromptCacheOptions& options = from.prompt_cache_options();
    to.cache_mode = options.has_mode() ? options.mode() : "implicit";
    read(options.has_ttl(), options.ttl(), to.cache_ttl);
  }
  to.store = from.store();
  to.metadata.assign(from.metadata().begin(), from.metadata().end());
  return to;
}

openai::OutputFormat read_format(const v1::OutputFormat& from) {
  using Kind = openai::OutputFormatKind;
  openai::OutputFormat to;
  const auto set = [&to](Kind kind, const char* field, const std::string& text) {
    to.kind = kind;
    to.field = std::string("format.") + field;
    to.text = text;
  };
  switch (from.kind_case()) {
    case v1::OutputFormat::kJsonObject:
      if (from.json_object()) {
        set(Kind::kJsonObject, "json_object", "");
      }
      break;
    case v1::OutputFormat::kJsonSchema:
      set(Kind::kJsonSchema, "json_schema", from.json_schema());
      to.strict = from.strict();
      break;
    case v1::OutputFormat::kRegex:
      set(Kind::kRegex, "regex", from.regex());
      break;
    case v1::OutputFormat::kGrammar:
      set(Kind::kGrammar, "grammar", from.grammar());
      break;
    case v1::OutputFormat::kChoice:
      set(Kind::kChoice, "choice", "");
      to.choices.assign(from.choice().values().begin(), from.choice().values().end());
      break;
    case v1::OutputFormat::kStructuralTag:
      set(Kind::kStructuralTag, "structural_tag", from.structural_tag());
      break;
    case v1::OutputFormat::KIND_NOT_SET:
      break;
  }
  return to;
}

template <typename Request>
openai::GenerationRequest read_common(const Request& from, openai::RequestKind kind) {
  openai::GenerationRequest to;
  to.kind = kind;
  to.stream = true;
  to.streams_prompt_logprobs = true;
  to.model = from.model();
  to.cache_salt = from.cache_salt();
  to.user = from.user();
  to.priority = from.priority();
  if (!from.prediction().empty()) {
    to.prediction = from.prediction();
  }
  if (from.has_add_special_tokens()) {
    to.add_special_tokens = from.add_special_tokens();
  }
  to.continuous_usage = from.continuous_usage();
  to.format = read_format(from.format());
  read_sampling(from.sampling(), to);
  if (from.sampling().has_logprobs()) {
    to.top_logprobs = from.sampling().logprobs();
  }
  return to;
}

openai::Result<openai::GenerationRequest> checked(openai::GenerationRequest request, const v1::ServiceOptions& service,
                                                  const openai::RequestLimits& limits) {
  if (openai::MaybeError error = apply_service(read_service(service), request)) {
    return *std::move(error);
  }
  if (openai::MaybeError error = validate(request, limits)) {
    return *std::move(error);
  }
  return request;
}

openai::Result<openai::Prompt> read_prompt(const v1::GenerateRequest& request) {
  if (request.prompt_case() == v1::GenerateRequest::kText) {
    return openai::Prompt(request.text());
  }
  if (request.prompt_case() != v1::GenerateRequest::kTokenIds) {
    return openai::missing_prompt();
  }
  const auto& ids = request.token_ids().ids();
  if (ids.empty()) {
    return openai::wrong_prompt("an empty array");
  }
  for (const TokenId id : ids) {
    if (id < 0) {
      return openai::wrong_prompt(fmt::format("the number {}", id));
    }
  }
  return openai::Prompt(std::vector<TokenId>(ids.begin(), ids.end()));
}

// Reads the JSON texts of one request: all of them together may have as many values as one body over HTTP.
class JsonFields {
 public:
  explicit JsonFields(const openai::RequestLimits& limits) : limits_(limits) {}

  // Sets object[name] to the JSON in `text` unless that is empty. `levels`: how deep it lies in an HTTP body.
  openai::MaybeError add(Json& object, const char* name, const char* field, const std::string& text,
                         std::size_t levels) {
    if (text.empty()) {
      return std::nullopt;
    }
    openai::RequestLimits limits = limits_;
    limits.json_depth_max -= std::min(levels, limits.json_depth_max);
    openai::Result<Json> value = openai::parse_json(text, limits, fmt::format("'{}'", field));
    if (!value.ok()) {
      value.error().param = field;
      return std::move(value.error());
    }
    // A value has two bytes of text at least, and a tree some dozen times its text: what is left is an upper bound.
    const std::size_t values = count_values(value.value());
    limits_.json_values_max -= std::min(values, limits_.json_values_max);
    limits_.json_tree_bytes_max -= std::min(values * kTreeBytes + text.size(), limits_.json_tree_bytes_max);
    object[name] = std::move(value.value());
    return std::nullopt;
  }

 private:
  static constexpr std::size_t kTreeBytes = 128;  // of memory for a value, its container's and key's part included

  // REQUIRES: bounded depth.
  static std::size_t count_values(const Json& value) {
    std::size_t count = 1;
    if (value.is_structured()) {
      for (const Json& item : value) {
        count += count_values(item);
      }
    }
    return count;
  }

  openai::RequestLimits limits_;
};

openai::MaybeError add_message(const v1::ChatMessage& message, Json& messages, JsonFields& texts) {
  Json entry = {{"role", message.role()}, {"content", message.content()}};
  if (message.prompt_cache_breakpoint()) {
    Json part = {{"type", "text"}, {"text", message.content()}, {"prompt_cache_breakpoint", {{"mode", "explicit"}}}};
    entry["content"] = Json::array({std::move(part)});
  }
  if (!message.name().empty()) {
    entry["name"] = message.name();
  }
  if (!message.tool_call_id().empty()) {
    entry["tool_call_id"] = message.tool_call_id();
  }
  if (!message.refusal().empty()) {
    entry["refusal"] = message.refusal();
  }
  if (!message.reasoning().empty()) {
    entry["reasoning"] = message.reasoning();
  }
  if (openai::MaybeError error =
          texts.add(entry, "tool_calls", "tool_calls_json", message.tool_calls_json(), kMessageLevels)) {
    return error;
  }
  messages.push_back(std::move(entry));
  return std::nullopt;
}

}  // namespace

openai::Result<openai::GenerationRequest> from_proto(const v1::GenerateRequest& request,
                                                     const openai::RequestLimits& limits) {
  openai::Result<openai::Prompt> prompt = read_prompt(request);
  if (!prompt.ok()) {
    return std::move(prompt.error());
  }
  openai::GenerationRequest read = read_common(request, openai::RequestKind::kCompletion);
  read.prompts.push_back(std::move(prompt.value()));
  read.echo = request.echo();
  read.suffix = request.suffix();
  if (request.has_parse_special()) {
    read.parse_special = request.parse_special();
  }
  if (request.sampling().has_best_of()) {
    if (request.sampling().best_of() > read.n) {
      return openai::bad_value("best_of",
                               "'best_of' must not be larger than 'n': answers over gRPC are streams, and "
                               "the best of more is known only at the end");
    }
    read.best_of = request.sampling().best_of();
  }
  return checked(std::move(read), request.service(), limits);
}

openai::Result<openai::GenerationRequest> from_proto(const v1::ChatRequest& request,
                                                     const openai::RequestLimits& limits) {
  Json fields = Json::object();
  Json messages = Json::array();
  JsonFields texts(limits);
  for (const v1::ChatMessage& message : request.messages()) {
    if (openai::MaybeError error = add_message(message, messages, texts)) {
      return *std::move(error);
    }
  }
  fields["messages"] = std::move(messages);
  if (openai::MaybeError error = texts.add(fields, "tools", "tools_json", request.tools_json(), kBodyLevels)) {
    return *std::move(error);
  }
  if (openai::MaybeError error = texts.add(fields, "chat_template_kwargs", "chat_template_arguments_json",
                                           request.chat_template_arguments_json(), kBodyLevels)) {
    return *std::move(error);
  }
  if (request.has_add_generation_prompt()) {
    fields["add_generation_prompt"] = request.add_generation_prompt();
  }
  fields["continue_final_message"] = request.continue_final_message();
  fields["chat_template"] = request.chat_template();
  if (request.tool_choice().starts_with('{')) {
    if (openai::MaybeError error =
            texts.add(fields, "tool_choice", "tool_choice", request.tool_choice(), kBodyLevels)) {
      return *std::move(error);
    }
  } else if (!request.tool_choice().empty()) {
    fields["tool_choice"] = request.tool_choice();
  }
  if (request.has_parallel_tool_calls()) {
    fields["parallel_tool_calls"] = request.parallel_tool_calls();
  }
  fields["reasoning_effort"] = request.reasoning_effort();
  if (request.has_thinking_budget()) {
    fields["thinking_budget"] = request.thinking_budget();
  }
  openai::GenerationRequest read = read_common(request, openai::RequestKind::kChat);
  openai::FieldReader reader(fields);
  take_chat_fields(fields, reader, limits, read.chat);
  if (reader.failed()) {
    return *reader.error();
  }
  return checked(std::move(read), request.service(), limits);
}

}  // namespace coppice::server
