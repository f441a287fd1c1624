// From JSON fields to a ResponsesRequest. The conversation is read first, then how to answer.
#include "proto/openai/parse_responses.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "proto/openai/parse_chat.h"
#include "proto/openai/parse_sampling.h"
#include "proto/openai/parse_tools.h"
#include "proto/openai/response_fields.h"
#include "proto/openai/response_items.h"
#include "proto/openai/service_fields.h"

namespace coppice::openai {
namespace {

constexpr std::size_t kMetadataMax = 16;             // OpenAI's bounds: entries,
constexpr std::size_t kMetadataKeyBytesMax = 64;     // bytes of a name,
constexpr std::size_t kMetadataValueBytesMax = 512;  // and of a text

std::string dump_field(const Json& body, const char* name, const char* otherwise) {
  const auto found = body.find(name);
  return found == body.end() || found->is_null() ? otherwise : write_json(*found);
}

// A text field that the answer repeats.
void check_text(FieldReader& reader, const char* name, const RequestLimits& limits) {
  std::string text;
  reader.read(name, text);
  if (text.size() > static_cast<std::size_t>(limits.name_bytes_max)) {
    reader.fail(bad_value(
        name, fmt::format("'{}' must have at most {} bytes; got {}", name, limits.name_bytes_max, text.size())));
  }
}

void check_metadata(FieldReader& reader) {
  const Json* const metadata = reader.find("metadata");
  if (metadata == nullptr) {
    return;
  }
  const auto is_entry_fine = [](const auto& entry) {
    return entry.key().size() <= kMetadataKeyBytesMax && entry.value().is_string() &&
           entry.value().template get_ref<const std::string&>().size() <= kMetadataValueBytesMax;
  };
  bool is_fine = metadata->is_object() && metadata->size() <= kMetadataMax;
  if (is_fine) {
    const auto items = metadata->items();
    is_fine = std::all_of(items.begin(), items.end(), is_entry_fine);
  }
  if (!is_fine) {
    reader.fail_type("metadata",
                     fmt::format("an object of at most {} texts of {} bytes, with names of at most {}", kMetadataMax,
                                 kMetadataValueBytesMax, kMetadataKeyBytesMax),
                     *metadata);
  }
}

bool is_function(const Json& tool) {
  const auto type = tool.find("type");
  return type != tool.end() && *type == "function";
}

// A function tool as the chat API has it.
Json chat_tool(const Json& tool) {
  Json function = Json::object();
  for (const auto& [key, value] : tool.items()) {
    if (key != "type") {
      function[key] = value;
    }
  }
  Json out = Json::object();
  out["type"] = "function";
  out["function"] = std::move(function);
  return out;
}

bool is_named(const Json& tool) {
  const auto name = tool.find("name");
  return name != tool.end() && name->is_string() && !name->get_ref<const std::string&>().empty();
}

// The function tools, as the chat API has them; the kinds of the others are noted.
Json read_tools(FieldReader& reader, const RequestLimits& limits, IgnoredFields& ignored) {
  Json functions = Json::array();
  const Json* const tools = reader.find("tools");
  if (tools == nullptr) {
    return functions;
  }
  if (!tools->is_array() || tools->size() > static_cast<std::size_t>(limits.tools_max)) {
    reader.fail_type("tools", fmt::format("an array of at most {} tools", limits.tools_max), *tools);
    return functions;
  }
  for (std::size_t i = 0; i < tools->size(); ++i) {
    const Json& tool = (*tools)[i];
    const auto type = tool.is_object() ? tool.find("type") : tool.end();
    if (!tool.is_object() || type == tool.end() || !type->is_string()) {
      reader.fail_type(fmt::format("tools[{}]", i), "an object with a 'type'", tool);
    } else if (!is_function(tool)) {
      ignored.add("tools." + type->get_ref<const std::string&>());
    } else if (!is_named(tool)) {
      reader.fail(bad_value(fmt::format("tools[{}].name", i), fmt::format("'tools[{}].name' must be a string", i)));
    } else {
      functions.push_back(chat_tool(tool));
    }
    if (reader.failed()) {
      break;
    }
  }
  return functions;
}

void read_text_format(FieldReader& reader, const RequestLimits& limits, GenerationRequest& request) {
  const Json* const text = reader.find("text");
  if (text == nullptr) {
    return;
  }
  if (!text->is_object()) {
    reader.fail_type("text", "an object with a 'format'", *text);
    return;
  }
  FieldReader inner(*text, "text.");
  read_flat_format(inner, "format", /*otherwise=*/false, limits, request);
  constexpr IgnoredField kIgnored[] = {{"verbosity", "\"medium\""}};
  request.ignored.add_present(inner, kIgnored);
  if (inner.failed()) {
    reader.fail(*inner.error());
  }
}

void read_reasoning(FieldReader& reader, GenerationRequest& request) {
  const Json* const reasoning = reader.find("reasoning");
  if (reasoning == nullptr) {
    return;
  }
  if (!reasoning->is_object()) {
    reader.fail_type("reasoning", "an object", *reasoning);
    return;
  }
  FieldReader inner(*reasoning, "reasoning.");
  read_reasoning_effort("effort", inner, request.chat);
  if (inner.failed()) {
    reader.fail(*inner.error());
    return;
  }
  constexpr IgnoredField kIgnored[] = {{"summary"}, {"generate_summary"}, {"mode"}, {"context"}};
  request.ignored.add_present(inner, kIgnored);
}

// Which logprobs the answer has.
void read_logprobs(FieldReader& reader, const RequestLimits& limits, GenerationRequest& request) {
  reader.read("top_logprobs", request.top_logprobs);
  if (request.top_logprobs == 0) {
    request.top_logprobs.reset();
  }
  const Json* const include = reader.find("include");
  if (include == nullptr) {
    return;
  }
  if (!include->is_array() || include->size() > static_cast<std::size_t>(limits.tools_max)) {
    reader.fail_type("include", "an array of names", *include);
    return;
  }
  for (const Json& name : *include) {
    if (!name.is_string()) {
      reader.fail_type("include", "an array of names", name);
    } else if (name == "message.output_text.logprobs") {
      request.top_logprobs = request.top_logprobs.value_or(0);
    } else {
      request.ignored.add("include." + name.get_ref<const std::string&>());
    }
  }
}

void read_stream_options(FieldReader& reader, IgnoredFields& ignored) {
  const Json* const options = reader.find("stream_options");
  if (options == nullptr) {
    return;
  }
  if (!options->is_object()) {
    reader.fail_type("stream_options", "an object", *options);
    return;
  }
  constexpr IgnoredField kIgnored[] = {{"include_obfuscation", "false"}};
  ignored.add_present(FieldReader(*options, "stream_options."), kIgnored);
}

// How to answer.
void read_options(FieldReader& reader, const RequestLimits& limits, ResponsesRequest& out) {
  GenerationRequest& request = out.generation;
  reader.read("model", request.model);
  reader.read("store", out.store);
  reader.read("background", out.background);
  reader.read("stream", request.stream);
  reader.read("max_output_tokens", request.sampling.max_tokens);
  reader.read("min_tokens", request.sampling.min_tokens);
  reader.read("ignore_eos", request.sampling.ignore_eos);
  reader.read("include_stop_str_in_output", request.include_stop_str_in_output);
  reader.read("skip_special_tokens", request.skip_special_tokens);
  read_sampling(reader, limits, request);
  read_stop(reader, "stop", limits, request.stop);
  read_logprobs(reader, limits, request);
  read_text_format(reader, limits, request);
  read_reasoning(reader, request);
  read_stream_options(reader, request.ignored);
  set_tools(read_tools(reader, limits, request.ignored), read_tool_choice(reader.find("tool_choice"), reader), reader,
            request.chat);
  reader.read("parallel_tool_calls", request.chat.parallel_tool_calls);
  check_metadata(reader);
  for (const char* const name : {"safety_identifier", "prompt_cache_key", "truncation"}) {
    check_text(reader, name, limits);
  }
  if (out.background && !out.store) {
    reader.fail(bad_value("background", "'background' needs 'store': the response is fetched when it is complete"));
  }
  if (out.background && request.stream) {
    reader.fail(not_supported("background", "'background' with 'stream' is not supported: fetch the response"));
  }
}

void read_conversation(const std::vector<Json>& history, ItemReading& reading) {
  std::string instructions;
  reading.reader.read("instructions", instructions);
  if (!instructions.empty()) {
    reading.conversation.add_instructions(std::move(instructions));
  }
  std::size_t items = 0;
  for (const Json& turn : history) {
    items += turn.size();
    read_items(turn, "previous_response_id", reading);
  }
  const Json* const input = reading.reader.find("input");
  if (input == nullptr) {
    reading.reader.fail(bad_value("input", "'input' is missing: send text or an array of items"));
    return;
  }
  items += input->is_array() ? input->size() : 1;
  if (items > static_cast<std::size_t>(reading.limits.messages_max)) {
    reading.reader.fail(bad_value("input", fmt::format("the conversation has {} items; at most {} are allowed", items,
                                                       reading.limits.messages_max)));
    return;
  }
  read_items(*input, "input", reading);
  if (!reading.reader.failed() && reading.conversation.size() == 0) {
    reading.reader.fail(bad_value("input", "'input' has no message: send text or an array of items"));
  }
}

// Function tools with the members that the schema requires.
std::string echo_tools(const Json& body) {
  const auto tools = body.find("tools");
  if (tools == body.end() || !tools->is_array()) {
    return "[]";
  }
  Json echo = *tools;
  for (Json& tool : echo) {
    if (is_function(tool)) {
      tool.emplace("strict", nullptr);
      tool.emplace("parameters", nullptr);
    }
  }
  return write_json(echo);
}

std::string echo_text(const Json& body) {
  Json text = Json::object();
  text["format"]["type"] = "text";
  const auto given = body.find("text");
  if (given != body.end() && given->is_object()) {
    for (const char* const name : {"format", "verbosity"}) {
      if (given->contains(name) && !(*given)[name].is_null()) {
        text[name] = (*given)[name];
      }
    }
  }
  return write_json(text);
}

std::string echo_reasoning(const Json& body) {
  Json reasoning = Json::object();
  reasoning["effort"] = nullptr;
  reasoning["summary"] = nullptr;
  const auto given = body.find("reasoning");
  if (given != body.end() && given->is_object() && given->contains("effort")) {
    reasoning["effort"] = (*given)["effort"];
  }
  return write_json(reasoning);
}

ResponseEcho make_echo(const Json& body, const ResponsesRequest& request) {
  ResponseEcho echo;
  echo.emplace_back("background", request.background ? "true" : "false");
  echo.emplace_back("instructions", dump_field(body, "instructions", "null"));
  echo.emplace_back("max_output_tokens", dump_field(body, "max_output_tokens", "null"));
  echo.emplace_back("max_tool_calls", dump_field(body, "max_tool_calls", "null"));
  echo.emplace_back("parallel_tool_calls", request.generation.chat.parallel_tool_calls ? "true" : "false");
  echo.emplace_back("previous_response_id", dump_field(body, "previous_response_id", "null"));
  echo.emplace_back("prompt_cache_key", dump_field(body, "prompt_cache_key", "null"));
  echo.emplace_back("reasoning", echo_reasoning(body));
  echo.emplace_back("safety_identifier", dump_field(body, "safety_identifier", "null"));
  const std::string_view tier = service_tier_name(request.generation.service_tier);
  echo.emplace_back("service_tier", fmt::format("\"{}\"", tier.empty() ? "default" : tier));
  echo.emplace_back("store", request.store ? "true" : "false");
  echo.emplace_back("temperature", dump_field(body, "temperature", "null"));
  echo.emplace_back("text", echo_text(body));
  echo.emplace_back("tool_choice", dump_field(body, "tool_choice", "\"auto\""));
  echo.emplace_back("tools", echo_tools(body));
  echo.emplace_back("top_logprobs", dump_field(body, "top_logprobs", "0"));
  echo.emplace_back("top_p", dump_field(body, "top_p", "null"));
  echo.emplace_back("truncation", "\"disabled\"");
  if (body.contains("user")) {
    echo.emplace_back("user", dump_field(body, "user", "null"));
  }
  echo.emplace_back("metadata", dump_field(body, "metadata", "{}"));
  return echo;
}

std::string dump_input(const Json& body) {
  const Json& input = body["input"];
  if (input.is_array()) {
    return write_json(input);
  }
  Json items = Json::array();
  items.push_back(text_item(input.get<std::string>()));
  return write_json(items);
}

}  // namespace

Result<std::string> read_previous_id(const Json& body) {
  std::string id;
  FieldReader reader(body);
  reader.read("previous_response_id", id);
  if (reader.failed()) {
    return *reader.error();
  }
  return id;
}

Result<ResponsesRequest> read_responses_request(Json body, const std::vector<Json>& history,
                                                const RequestLimits& limits) {
  if (!body.is_object()) {
    return bad_value("", "the request body must be a JSON object; got " + describe(body));
  }
  FieldReader reader(body);
  ResponsesRequest out;
  GenerationRequest& request = out.generation;
  request.kind = RequestKind::kChat;
  request.names = &kResponsesNames;
  request.cuts_max_tokens = true;
  request.sampling.max_tokens_name = "max_output_tokens";
  refuse_unsupported(reader);
  apply_table(reader, kResponseFields, request.ignored);
  ItemReading reading{reader, limits};
  read_conversation(history, reading);
  read_options(reader, limits, out);
  ServiceFields service;
  read_serving(reader, service);
  reader.read("previous_response_id", out.previous_id);
  set_messages(reading.conversation.take(), reader, limits, request.chat);
  if (reader.failed()) {
    return *reader.error();
  }
  for (const std::string& name : reading.ignored.names()) {
    request.ignored.add(name);
  }
  note_unknown(reader, kResponseFields, request.ignored);
  request.chat.marks = std::move(reading.breakpoints);
  if (MaybeError error = apply_service(service, request)) {
    return std::move(*error);
  }
  if (MaybeError error = validate(request, limits)) {
    return std::move(*error);
  }
  out.echo = make_echo(body, out);
  if (out.store) {
    out.input = dump_input(body);
  }
  return out;
}

}  // namespace coppice::openai
