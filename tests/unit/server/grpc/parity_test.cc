// HTTP and gRPC are one API: every field of a body is a field of inference.proto and the other way round, with the same
// bounds and messages.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "proto/openai/format_schema.h"
#include "proto/openai/generation_schema.h"
#include "proto/openai/parse_request.h"
#include "proto/openai/request_fields.h"
#include "server/grpc/convert.h"
#include "server/grpc/read_request.h"

namespace coppice::server {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using openai::Json;

// By name over HTTP: the name of the field in inference.proto; "sampling.": of SamplingParameters, "service.": of
// ServiceOptions.
using Names = std::map<std::string, std::string>;
// Fields that one of the two has alone, with the reason.
using Alone = std::map<std::string, const char*>;

openai::RequestLimits small_limits() {
  openai::RequestLimits limits;
  limits.vocab = 50;
  limits.model_tokens_max = 40;
  limits.name_bytes_max = 6;
  limits.stop_max = 2;
  limits.stop_bytes_max = 5;
  limits.stop_tokens_max = 2;
  limits.messages_max = 3;
  limits.tools_max = 1;
  return limits;
}

// What both kinds of request have.
Names common_names() {
  Names names = {{"structured_outputs", "format"}};
  for (const char* const name : {"model", "add_special_tokens", "prediction", "priority", "cache_salt", "user"}) {
    names[name] = name;
  }
  for (const char* const name : {"seed", "logit_bias", "stop", "stop_token_ids"}) {
    names[name] = std::string("sampling.") + name;
  }
  base::SamplingChoices knobs;
  base::for_each_sampling_knob(
      [&](const base::SamplingKnob& knob, const auto&) { names[knob.name] = std::string("sampling.") + knob.name; },
      knobs);
  for (const char* const name : {"service_tier", "prompt_cache_options", "prompt_cache_retention", "prompt_cache_key",
                                 "safety_identifier", "metadata", "verbosity", "store"}) {
    names[name] = std::string("service.") + name;
  }
  openai::GenerationRequest request;
  openai::for_each_request_field(request, [&](const openai::RequestField& field, const auto&) {
    names[field.name] = std::string("sampling.") + field.proto_name;
  });
  return names;
}

Names completion_names() {
  Names names = common_names();
  names.insert({{"prompt", "text"},
                {"best_of", "sampling.best_of"},
                {"echo", "echo"},
                {"logprobs", "sampling.logprobs"},
                {"parse_special", "parse_special"},
                {"suffix", "suffix"}});
  return names;
}

Names chat_names() {
  Names names = common_names();
  names.insert({{"messages", "messages"},
                {"tools", "tools_json"},
                {"tool_choice", "tool_choice"},
                {"add_generation_prompt", "add_generation_prompt"},
                {"continue_final_message", "continue_final_message"},
                {"chat_template", "chat_template"},
                {"parallel_tool_calls", "parallel_tool_calls"},
                {"reasoning_effort", "reasoning_effort"},
                {"thinking_budget", "thinking_budget"},
                {"chat_template_kwargs", "chat_template_arguments_json"},
                {"max_completion_tokens", "sampling.max_tokens"},
                {"top_logprobs", "sampling.logprobs"}});
  return names;
}

const Names kMessageNames = {{"role", "role"},
                             {"content", "content"},
                             {"name", "name"},
                             {"tool_calls", "tool_calls_json"},
                             {"tool_call_id", "tool_call_id"},
                             {"refusal", "refusal"},
                             {"reasoning", "reasoning"}};

const Alone kHttpAlone = {{"stream", "every answer over gRPC is a stream"},
                          {"stream_options", "the last response of every stream has the usage"},
                          {"return_token_ids", "responses always have the tokens' ids"},
                          {"return_tokens_as_token_ids", "likewise"},
                          {"thinking", "another name of reasoning"},
                          {"function_call", "tool_calls, as they were called before"},
                          {"reasoning_content", "another name of reasoning"}};
// Other names of `format`.
Alone format_names() {
  Alone names = {{"response_format", "another name of format"}};
  for (const openai::Schema::Member& member : openai::server_format_members()) {
    if (member.name != "structured_outputs") {
      names[member.name] = "another name of format";
    }
  }
  return names;
}
const Alone kChatHttpAlone = {{"logprobs", "that sampling.logprobs is there says it"},
                              {"functions", "tools, as they were called before"},
                              {"function_call", "likewise"},
                              {"thinking_token_budget", "another name of thinking_budget"}};
const Alone kGrpcAlone = {{"request_id", "over HTTP the header x-request-id"},
                          {"token_ids", "over HTTP `prompt` takes both"},
                          {"continuous_usage", "over HTTP in stream_options"},
                          {"sampling", "its fields are counted"},
                          {"service", "its fields are counted"}};
const Alone kChatGrpcAlone = {{"sampling.best_of", "of completions alone"}};
// The names of a message's fields, those of `sampling` and `service` as "sampling.x".
std::set<std::string> proto_fields(const Descriptor& message) {
  std::set<std::string> names;
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    names.insert(field.name());
    if (field.name() == "sampling" || field.name() == "service") {
      for (int k = 0; k < field.message_type()->field_count(); ++k) {
        names.insert(field.name() + "." + field.message_type()->field(k)->name());
      }
    }
  }
  return names;
}

void check_names(const std::vector<std::string>& http, const Descriptor& proto, const Names& names,
                 const std::vector<Alone>& http_alone, const std::vector<Alone>& grpc_alone) {
  const auto is_in = [](const std::vector<Alone>& lists, const std::string& name) {
    return std::any_of(lists.begin(), lists.end(), [&](const Alone& list) { return list.count(name) == 1; });
  };
  std::set<std::string> paired;
  for (const std::string& name : http) {
    INFO(proto.name() << ": " << name << " over HTTP");
    CHECK((names.count(name) == 1) != is_in(http_alone, name));
    if (const auto found = names.find(name); found != names.end()) {
      paired.insert(found->second);
    }
  }
  const std::set<std::string> fields = proto_fields(proto);
  for (const std::string& name : fields) {
    INFO(proto.name() << ": " << name << " over gRPC");
    CHECK((paired.count(name) == 1) != is_in(grpc_alone, name));
  }
  for (const auto& [name, field] : names) {
    INFO(proto.name() << ": " << name << " and " << field);
    CHECK(std::find(http.begin(), http.end(), name) != http.end());
    CHECK(fields.count(field) == 1);
  }
}

TEST_CASE("every field of a body is a field of inference.proto, and the other way round") {
  const openai::RequestLimits limits = small_limits();
  check_names(openai::completion_schema(limits).member_names(), *v1::GenerateRequest::descriptor(), completion_names(),
              {kHttpAlone, format_names()}, {kGrpcAlone});
  const openai::Schema chat = openai::chat_schema(limits);
  check_names(chat.member_names(), *v1::ChatRequest::descriptor(), chat_names(),
              {kHttpAlone, kChatHttpAlone, format_names()}, {kGrpcAlone, kChatGrpcAlone});
  std::vector<openai::Schema> named;
  chat.list_named(named);
  const auto message =
      std::find_if(named.begin(), named.end(), [](const auto& schema) { return schema.name() == "ChatMessage"; });
  REQUIRE(message != named.end());
  const Alone message_alone = {{"prompt_cache_breakpoint", "over HTTP a part of the content has it"}};
  check_names(message->member_names(), *v1::ChatMessage::descriptor(), kMessageNames, {kHttpAlone}, {message_alone});
}
// --- the same request over HTTP and gRPC
// ------------------------------------------------------------------------------

// Everything of a request that says what its answer is.
std::string fingerprint(const openai::GenerationRequest& request) {
  nlohmann::json shown;  // members in an order of their own
  shown["kind"] = static_cast<int>(request.kind);
  shown["model"] = request.model;
  for (const openai::Prompt& prompt : request.prompts) {
    shown["prompts"].push_back(std::visit([](const auto& one) { return nlohmann::json(one); }, prompt));
  }
  const openai::ChatFields& chat = request.chat;
  for (const auto& [name, part] : {std::pair("messages", chat.messages), std::pair("tools", chat.tools),
                                   std::pair("template_kwargs", chat.template_kwargs)}) {
    shown[name] = part == nullptr ? nlohmann::json() : nlohmann::json(*part);
  }
  shown["chat"] = {chat.has_tools, chat.template_name, chat.add_generation_prompt, chat.continue_final_message};
  shown["calls"] = fmt::format("{} {} {} {} {}", static_cast<int>(chat.tool_choice), chat.called_tool,
                               chat.parallel_tool_calls, chat.has_functions, chat.thinking_budget.value_or(-1));
  const auto add = [&shown](const char* name, const auto& value) {
    shown[name] = value ? nlohmann::json(*value) : nlohmann::json();
  };
  const openai::SamplingFields& sampling = request.sampling;
  base::for_each_sampling_knob([&](const base::SamplingKnob& knob, const auto& value) { add(knob.name, value); },
                               sampling);
  add("max_tokens", sampling.max_tokens);
  add("min_tokens", sampling.min_tokens);
  add("seed", sampling.seed);
  add("best_of", request.best_of);
  add("top_logprobs", request.top_logprobs);
  add("prompt_logprobs", request.prompt_logprobs);
  add("prediction", request.prediction);
  add("add_special_tokens", request.add_special_tokens);
  shown["bias"] = sampling.logit_bias;
  shown["stop_tokens"] = sampling.stop_token_ids;
  shown["stop"] = request.stop;
  shown["format"] = {static_cast<int>(request.format.kind), request.format.text, request.format.choices,
                     request.format.strict};
  shown["flags"] = {sampling.ignore_eos, request.include_stop_str_in_output, request.skip_special_tokens, request.echo,
                    request.parse_special};
  shown["rest"] = {request.n, request.priority, request.suffix, request.cache_salt, request.user};
  const openai::CacheControl& cache = request.cache_control;
  shown["service"] = {static_cast<int>(request.service_tier), cache.is_explicit, cache.keeps_prompt.count(),
                      request.ignored.header()};
  for (const openai::CacheBreakpoint& place : request.cache_breakpoints) {
    shown["breakpoints"].push_back({place.messages, place.content_bytes, place.time_to_live.count()});
  }
  return shown.dump();
}

// What a front end makes of a request: its fingerprint, or the refusal in gRPC's words.
std::string outcome(const openai::Result<openai::GenerationRequest>& read) {
  if (read.ok()) {
    return fingerprint(read.value());
  }
  const grpc::Status status = to_status(read.error());
  std::string message = status.error_message();
  const std::string http_name = "'max_completion_tokens'";  // max_tokens over gRPC
  for (std::size_t at = 0; (at = message.find(http_name)) != std::string::npos;) {
    message.replace(at, http_name.size(), "'max_tokens'");
  }
  return fmt::format("{} {}", static_cast<int>(status.error_code()), message);
}

// A value over HTTP and gRPC.
struct Value {
  Json json;
  std::function<void(Message&, const FieldDescriptor&)> set;
};

std::vector<Value> values_of(const FieldDescriptor& field) {
  std::vector<Value> values;
  const auto add = [&values](Json json, auto set) {
    values.push_back({std::move(json), [set](Message& message, const FieldDescriptor& its) {
                        set(*message.GetReflection(), message, its);
                      }});
  };
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_FLOAT:
      for (const float number :
           {-100.5F, -2.1F, -2.0F, -0.1F, 0.0F, 0.001F, 0.01F, 0.7F, 1.0F, 1.1F, 2.0F, 2.1F, 100.0F, 100.5F}) {
        const Json json = Json::parse(fmt::format("{}", number));
        add(json, [number](const Reflection& reflection, Message& message, const FieldDescriptor& its) {
          reflection.SetFloat(&message, &its, number);
        });
      }
      break;
    case FieldDescriptor::CPPTYPE_INT32:
      for (const std::int32_t number : {-2, -1, 0, 1, 2, 20, 21, 40, 41, 50, 51, 128, 129, 2147483647}) {
        add(number, [number](const Reflection& reflection, Message& message, const FieldDescriptor& its) {
          reflection.SetInt32(&message, &its, number);
        });
      }
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      for (const std::int64_t number : {std::int64_t{-5}, std::int64_t{7}, std::int64_t{1} << 60}) {
        add(number, [number](const Reflection& reflection, Message& message, const FieldDescriptor& its) {
          reflection.SetInt64(&message, &its, number);
        });
      }
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      for (const bool is_on : {false, true}) {
        add(is_on, [is_on](const Reflection& reflection, Message& message, const FieldDescriptor& its) {
          reflection.SetBool(&message, &its, is_on);
        });
      }
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      for (const char* const text : {"x", "none", "auto", "low", "24h", "abcdef", "abcdefg"}) {
        add(text, [text](const Reflection& reflection, Message& message, const FieldDescriptor& its) {
          reflection.SetString(&message, &its, text);
        });
      }
      break;
    default:
      break;
  }
  return values;
}

// A request with one field set to each of its values, over HTTP and gRPC.
template <typename Request, typename Parse>
int compare_values(const Names& names, const Request& plain, const Json& plain_body, const Parse& parse) {
  int compared = 0;
  for (const auto& [http, path] : names) {
    const FieldDescriptor* const group = Request::descriptor()->FindFieldByName(path.substr(0, path.find('.')));
    const bool is_grouped = path.find('.') != std::string::npos;
    const Descriptor& owner = is_grouped ? *group->message_type() : *Request::descriptor();
    const FieldDescriptor* const field = owner.FindFieldByName(is_grouped ? path.substr(path.find('.') + 1) : path);
    const bool is_json = path.size() > 5 && path.rfind("_json") == path.size() - 5;
    if (field == nullptr || field->is_repeated() || is_json) {
      continue;  // compared below
    }
    for (const Value& value : values_of(*field)) {
      Request request = plain;
      value.set(is_grouped ? *request.GetReflection()->MutableMessage(&request, group) : request, *field);
      Json body = plain_body;
      body[http] = http == "prediction" ? Json({{"type", "content"}, {"content", value.json}}) : value.json;
      if (http == "top_logprobs") {
        body["logprobs"] = true;
      }
      INFO(body.dump());
      CHECK(outcome(from_proto(request, small_limits())) == outcome(parse(body.dump(), small_limits())));
      ++compared;
    }
  }
  return compared;
}

v1::GenerateRequest plain_completion() {
  v1::GenerateRequest request;
  request.set_text("hi");
  return request;
}

v1::ChatRequest plain_chat() {
  v1::ChatRequest request;
  v1::ChatMessage& message = *request.add_messages();
  message.set_role("user");
  message.set_content("hi");
  return request;
}

const Json kCompletion = {{"prompt", "hi"}};
const Json kChat = {{"messages", {{{"role", "user"}, {"content", "hi"}}}}};

TEST_CASE("one field at a time gives the same request or the same refusal over HTTP and gRPC") {
  Names completion = completion_names();
  completion.erase("best_of");  // more than n needs an answer that is whole
  CHECK(compare_values(completion, plain_completion(), kCompletion, openai::parse_completion_request) > 150);
  Names chat = chat_names();
  chat.erase("max_tokens");  // as max_completion_tokens
  CHECK(compare_values(chat, plain_chat(), kChat, openai::parse_chat_request) > 150);
}

struct Change {
  std::function<void(v1::SamplingParameters&)> grpc;
  const char* http;  // members of a body
};

TEST_CASE("lists give the same request or the same refusal over HTTP and gRPC") {
  using Sampling = v1::SamplingParameters;
  const std::vector<Change> changes = {
      {[](Sampling& to) { to.add_stop("ab"); }, R"({"stop":"ab"})"},
      {[](Sampling& to) { to.add_stop("abcdef"); }, R"({"stop":["abcdef"]})"},
      {[](Sampling& to) { to.add_stop(""); }, R"({"stop":[""]})"},
      {[](Sampling& to) { to.add_stop_token_ids(49); }, R"({"stop_token_ids":[49]})"},
      {[](Sampling& to) { to.add_stop_token_ids(50); }, R"({"stop_token_ids":[50]})"},
      {[](Sampling& to) { to.add_stop_token_ids(-1); }, R"({"stop_token_ids":[-1]})"},
      {[](Sampling& to) { (*to.mutable_logit_bias())[7] = 0.1F; }, R"({"logit_bias":{"7":0.1}})"},
      {[](Sampling& to) { (*to.mutable_logit_bias())[7] = 100.5F; }, R"({"logit_bias":{"7":100.5}})"},
      {[](Sampling& to) { (*to.mutable_logit_bias())[50] = 1; }, R"({"logit_bias":{"50":1}})"},
      {[](Sampling& to) {
         to.set_min_tokens(5);
         to.set_max_tokens(4);
       },
       R"({"min_tokens":5,"max_tokens":4})"},
  };
  for (const Change& change : changes) {
    INFO(change.http);
    v1::GenerateRequest completion = plain_completion();
    change.grpc(*completion.mutable_sampling());
    Json body = kCompletion;
    body.update(Json::parse(change.http));
    CHECK(outcome(from_proto(completion, small_limits())) ==
          outcome(openai::parse_completion_request(body.dump(), small_limits())));
    v1::ChatRequest chat = plain_chat();
    change.grpc(*chat.mutable_sampling());
    body = kChat;
    body.update(Json::parse(change.http));
    CHECK(outcome(from_proto(chat, small_limits())) ==
          outcome(openai::parse_chat_request(body.dump(), small_limits())));
  }
  v1::GenerateRequest tokens;
  for (const TokenId id : {1, 49}) {
    tokens.mutable_token_ids()->add_ids(id);
  }
  CHECK(outcome(from_proto(tokens, small_limits())) ==
        outcome(openai::parse_completion_request(R"({"prompt":[1,49]})", small_limits())));
  tokens.mutable_token_ids()->add_ids(50);
  CHECK(outcome(from_proto(tokens, small_limits())) ==
        outcome(openai::parse_completion_request(R"({"prompt":[1,49,50]})", small_limits())));
}

TEST_CASE("cache controls and notes give the same request or the same refusal over HTTP and gRPC") {
  struct Row {
    std::function<void(v1::ServiceOptions&)> grpc;
    const char* http;  // members of a body
  };
  using Options = v1::ServiceOptions;
  const std::vector<Row> rows = {
      {[](Options& to) { to.mutable_prompt_cache_options(); }, R"({"prompt_cache_options":{}})"},
      {[](Options& to) { to.mutable_prompt_cache_options()->set_ttl("90s"); },
       R"({"prompt_cache_options":{"ttl":"90s"}})"},
      {[](Options& to) { to.mutable_prompt_cache_options()->set_ttl("25h"); },
       R"({"prompt_cache_options":{"ttl":"25h"}})"},
      {[](Options& to) { to.mutable_prompt_cache_options()->set_mode("explicit"); },
       R"({"prompt_cache_options":{"mode":"explicit"}})"},
      {[](Options& to) { to.mutable_prompt_cache_options()->set_mode("always"); },
       R"({"prompt_cache_options":{"mode":"always"}})"},
      {[](Options& to) { (*to.mutable_metadata())["a"] = "b"; }, R"({"metadata":{"a":"b"}})"},
      {[](Options& to) { (*to.mutable_metadata())[""] = "b"; }, R"({"metadata":{"":"b"}})"},
  };
  for (const Row& row : rows) {
    INFO(row.http);
    v1::ChatRequest chat = plain_chat();
    row.grpc(*chat.mutable_service());
    chat.mutable_messages(0)->set_prompt_cache_breakpoint(true);
    Json body = kChat;
    body.update(Json::parse(row.http));
    body["messages"][0]["content"] =
        Json::parse(R"([{"type":"text","text":"hi","prompt_cache_breakpoint":{"mode":"explicit"}}])");
    CHECK(outcome(from_proto(chat, small_limits())) ==
          outcome(openai::parse_chat_request(body.dump(), small_limits())));
  }
}

TEST_CASE("tools, template arguments and messages are the same over HTTP and gRPC") {
  struct Row {
    const char* tools;  // as JSON; "": none
    const char* kwargs;
    const char* calls;
    const char* message;  // more members of the last message
  };
  const std::vector<Row> rows = {
      {R"([{"type":"function","function":{"name":"f","parameters":{"n":12345678901234567890123}}}])", "", "", "{}"},
      {R"([{"type":"function","function":{"name":5}}])", "", "", "{}"},
      {R"([{"function":{"name":"f"}},{"function":{"name":"g"}}])", "", "", "{}"},
      {"{}", "", "", "{}"},
      {"", R"({"enable_thinking":false})", "", "{}"},
      {"", "[]", "", "{}"},
      {"", "", R"([{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}])", "{}"},
      {"", "", R"([{"function":5}])", "{}"},
      {"", "", "", R"({"name":"ann","tool_call_id":"c","refusal":"no","reasoning":"so"})"},
  };
  for (const Row& row : rows) {
    v1::ChatRequest request = plain_chat();
    v1::ChatMessage& last = *request.add_messages();
    last.set_role("assistant");
    last.set_content("ho");
    last.set_tool_calls_json(row.calls);
    request.set_tools_json(row.tools);
    request.set_chat_template_arguments_json(row.kwargs);
    const Json more = Json::parse(row.message);
    for (const auto& [http, field] : kMessageNames) {
      if (more.contains(http)) {
        last.GetReflection()->SetString(&last, v1::ChatMessage::descriptor()->FindFieldByName(field),
                                        more[http].get<std::string>());
      }
    }
    // As text: numbers keep their digits.
    std::string body = R"({"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho")";
    body += more.empty() ? "" : "," + more.dump().substr(1, more.dump().size() - 2);
    body += row.calls[0] == '\0' ? "}]" : fmt::format(R"(,"tool_calls":{}}}])", row.calls);
    body += row.tools[0] == '\0' ? "" : fmt::format(R"(,"tools":{})", row.tools);
    body += row.kwargs[0] == '\0' ? "" : fmt::format(R"(,"chat_template_kwargs":{})", row.kwargs);
    body += "}";
    INFO(body);
    CHECK(outcome(from_proto(request, small_limits())) == outcome(openai::parse_chat_request(body, small_limits())));
  }
}

}  // namespace
}  // namespace coppice::server
