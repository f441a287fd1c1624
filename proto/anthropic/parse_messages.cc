// From JSON fields to a GenerationRequest. The conversation is read first, then how to answer.
#include "proto/anthropic/parse_messages.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "proto/anthropic/message_blocks.h"
#include "proto/anthropic/message_fields.h"
#include "proto/openai/parse_chat.h"
#include "proto/openai/parse_sampling.h"
#include "proto/openai/parse_tools.h"

namespace coppice::anthropic {
namespace {

using openai::bad_value;
using openai::CacheBreakpoint;
using openai::FieldReader;
using openai::GenerationRequest;
using openai::IgnoredField;
using openai::not_supported;
using openai::RequestLimits;

// Calls read(inner reader) for an object field; nothing when it is absent.
template <typename Read>
void read_object(FieldReader& reader, const char* name, Read read) {
  const Json* const object = reader.find(name);
  if (object == nullptr) {
    return;
  }
  if (!object->is_object()) {
    reader.fail_type(name, "an object", *object);
    return;
  }
  FieldReader inner(*object, std::string(name) + ".");
  read(inner);
  if (inner.failed()) {
    reader.fail(*inner.error());
  }
}

// A tool as the chat API has it; an empty one after a failure.
Json chat_tool(const Json& tool, const std::string& name, FieldReader& reader) {
  const auto title = tool.find("name");
  const auto schema = tool.find("input_schema");
  if (title == tool.end() || !title->is_string() || title->get_ref<const std::string&>().empty()) {
    reader.fail(bad_value(name + ".name", fmt::format("'{}.name' must be a string that is not empty", name)));
    return {};
  }
  if (schema == tool.end() || !schema->is_object()) {
    reader.fail_type(name + ".input_schema", "an object", schema == tool.end() ? Json() : *schema);
    return {};
  }
  Json function = Json::object();
  function["name"] = *title;
  if (const auto text = tool.find("description"); text != tool.end() && !text->is_null()) {
    function["description"] = *text;
  }
  function["parameters"] = *schema;
  if (const auto strict = tool.find("strict"); strict != tool.end() && strict->is_boolean()) {
    function["strict"] = *strict;
  }
  Json out = Json::object();
  out["type"] = "function";
  out["function"] = std::move(function);
  return out;
}

// The tools that the client runs itself, as the chat API has them; the kinds of the others are noted.
Json read_tools(BlockReading& reading) {
  FieldReader& reader = reading.reader;
  Json functions = Json::array();
  const Json* const tools = reader.find("tools");
  if (tools == nullptr) {
    return functions;
  }
  if (!tools->is_array() || tools->size() > static_cast<std::size_t>(reading.limits.tools_max)) {
    reader.fail_type("tools", fmt::format("an array of at most {} tools", reading.limits.tools_max), *tools);
    return functions;
  }
  for (std::size_t i = 0; i < tools->size() && !reader.failed(); ++i) {
    const Json& tool = (*tools)[i];
    const std::string name = fmt::format("tools[{}]", i);
    if (!tool.is_object()) {
      reader.fail_type(name, "an object", tool);
      break;
    }
    const auto type = tool.find("type");
    if (type == tool.end() || type->is_null() || *type == "custom") {
      functions.push_back(chat_tool(tool, name, reader));
      read_cache_control(tool, name, 0, CacheBreakpoint::kWholeMessage, reading);
    } else if (!type->is_string()) {
      reader.fail_type(name + ".type", "a string", *type);
    } else {
      reading.ignored.add("tools." + type->get_ref<const std::string&>());
    }
  }
  return functions;
}

void choose_tools(FieldReader& reader, Json tools, GenerationRequest& request) {
  openai::ToolChoiceFields choice;
  read_object(reader, "tool_choice", [&](FieldReader& inner) {
    std::string type = "auto";
    inner.read("type", type);
    bool is_single = false;
    inner.read("disable_parallel_tool_use", is_single);
    inner.read("name", choice.name);
    request.chat.parallel_tool_calls = !is_single;
    if (type == "none") {
      choice.choice = openai::ToolChoice::kNone;
    } else if (type == "any") {
      choice.choice = openai::ToolChoice::kRequired;
    } else if (type == "tool") {
      choice.choice = openai::ToolChoice::kNamed;
    } else if (type != "auto") {
      inner.fail(bad_value("tool_choice.type",
                           fmt::format("'tool_choice.type' must be \"auto\", \"any\", \"tool\" or \"none\"; got \"{}\"",
                                       type.substr(0, 40))));
    }
  });
  openai::set_tools(std::move(tools), std::move(choice), reader, request.chat);
}

void read_thinking(FieldReader& reader, const RequestLimits& limits, GenerationRequest& request) {
  read_object(reader, "thinking", [&](FieldReader& inner) {
    std::string type;
    inner.read("type", type);
    if (type.empty()) {
      inner.fail(bad_value("thinking.type", "'thinking.type' must be a string such as \"enabled\""));
      return;
    }
    openai::set_thinking(type != "disabled", request.chat);
    openai::read_thinking_budget("budget_tokens", inner, request.chat);
    constexpr IgnoredField kIgnored[] = {{"display"}};
    request.ignored.add_present(inner, kIgnored);
  });
  read_object(reader, "output_config", [&](FieldReader& inner) {
    openai::read_reasoning_effort("effort", inner, request.chat);
    openai::read_flat_format(inner, "format", /*otherwise=*/true, limits, request);
  });
  openai::read_flat_format(reader, "output_format", /*otherwise=*/true, limits, request);
}

void read_metadata(FieldReader& reader, const RequestLimits& limits, GenerationRequest& request) {
  read_object(reader, "metadata", [&](FieldReader& inner) {
    inner.read("user_id", request.user);
    if (request.user.size() > static_cast<std::size_t>(limits.name_bytes_max)) {
      inner.fail(bad_value("metadata.user_id", fmt::format("'metadata.user_id' must have at most {} bytes; got {}",
                                                           limits.name_bytes_max, request.user.size())));
    }
  });
}

void read_stop_sequences(FieldReader& reader, const RequestLimits& limits, GenerationRequest& request) {
  const Json* const stop = reader.find("stop_sequences");
  if (stop != nullptr && !stop->is_array()) {
    reader.fail_type("stop_sequences", "an array of strings", *stop);
    return;
  }
  openai::read_stop(reader, "stop_sequences", limits, request.stop);
}

// How to answer.
void read_options(FieldReader& reader, const RequestLimits& limits, GenerationRequest& request) {
  reader.read("model", request.model);
  reader.read("max_tokens", request.sampling.max_tokens);
  reader.read("stream", request.stream);
  reader.read("min_tokens", request.sampling.min_tokens);
  reader.read("ignore_eos", request.sampling.ignore_eos);
  reader.read("skip_special_tokens", request.skip_special_tokens);
  openai::read_sampling(reader, limits, request);
  read_stop_sequences(reader, limits, request);
  read_thinking(reader, limits, request);
  read_metadata(reader, limits, request);
}

// A last message of the assistant is the beginning of the answer.
bool is_prefill(const openai::Json& messages) {
  const openai::Json& last = messages.back();
  return last["role"] == "assistant" && last["content"].is_string() &&
         !last["content"].get_ref<const std::string&>().empty() && !last.contains("tool_calls");
}

void read_conversation(BlockReading& reading, const Json& body, GenerationRequest& request) {
  FieldReader& reader = reading.reader;
  choose_tools(reader, read_tools(reading), request);
  if (const Json* const system = reader.find("system")) {
    read_system(*system, reading);
  }
  const Json* const messages = reader.find("messages");
  if (messages == nullptr) {
    reader.fail(bad_value("messages", "'messages' is missing: send an array of {\"role\", \"content\"}"));
    return;
  }
  read_messages(*messages, reading);
  read_cache_control(body, "", reading.conversation.size(), CacheBreakpoint::kWholeMessage, reading);
  Json read = reading.conversation.take();
  request.chat.continue_final_message = !read.empty() && is_prefill(read);
  request.chat.add_generation_prompt = !request.chat.continue_final_message;
  openai::set_messages(std::move(read), reader, reading.limits, request.chat);
}

openai::Result<GenerationRequest> read_request(const Json& body, const RequestLimits& limits, bool needs_max_tokens) {
  if (!body.is_object()) {
    return bad_value("", "the request body must be a JSON object; got " + openai::describe(body));
  }
  FieldReader reader(body);
  GenerationRequest request;
  request.kind = openai::RequestKind::kChat;
  request.names = &openai::kMessagesNames;
  request.cuts_max_tokens = true;
  request.allows_no_tokens = true;
  openai::refuse_unsupported(reader);
  openai::apply_table(reader, kMessageFields, request.ignored);
  BlockReading reading{reader, limits};
  read_conversation(reading, body, request);
  read_options(reader, limits, request);
  if (needs_max_tokens && !reader.has("max_tokens")) {
    reader.fail(bad_value("max_tokens", "'max_tokens' is missing: say how many tokens the answer may have"));
  }
  if (reader.failed()) {
    return *reader.error();
  }
  for (const std::string& name : reading.ignored.names()) {
    request.ignored.add(name);
  }
  openai::note_unknown(reader, kMessageFields, request.ignored);
  request.cache_breakpoints = openai::arrange_breakpoints(std::move(reading.breakpoints), *request.chat.messages);
  if (openai::MaybeError error = validate(request, limits)) {
    return std::move(*error);
  }
  return request;
}

}  // namespace

openai::Result<GenerationRequest> read_messages_request(Json body, const RequestLimits& limits) {
  return read_request(body, limits, /*needs_max_tokens=*/true);
}

openai::Result<GenerationRequest> read_count_request(Json body, const RequestLimits& limits) {
  return read_request(body, limits, /*needs_max_tokens=*/false);
}

}  // namespace coppice::anthropic
