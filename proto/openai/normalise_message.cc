// Keys of a message, one function each.
#include "proto/openai/normalise_message.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

namespace coppice::openai {
namespace {

// Names under which clients and templates know an assistant's reasoning, the one that wins first, as in transformers.
constexpr std::array<const char*, 3> kReasoning = {"reasoning_content", "thinking", "reasoning"};
// Keys that hold text.
constexpr std::array<const char*, 6> kTexts = {"name",     "tool_call_id", "refusal", "reasoning_content",
                                               "thinking", "reasoning"};

// Erases members, in linear time. REQUIRES: an object.
template <typename IsUseless>
void drop_members(Json& object, const IsUseless& is_useless) {
  auto& members = object.get_ref<Json::object_t&>();
  if (std::none_of(members.begin(), members.end(), is_useless)) {
    return;
  }
  Json::object_t kept;
  kept.reserve(members.size());
  for (auto& member : members) {
    if (!is_useless(member)) {
      kept.emplace_back(member.first, std::move(member.second));
    }
  }
  members = std::move(kept);
}

// Erases what says nothing: no template has a use for it, and some fail.
void drop_empty_members(Json& object) {
  drop_members(object, [](const auto& member) { return member.first != "content" && is_empty(member.second); });
}

void check_texts(const Json& message, const std::string& name, FieldReader& reader) {
  for (const char* const key : kTexts) {
    if (const auto found = message.find(key); found != message.end() && !found->is_string()) {
      reader.fail_type(fmt::format("{}.{}", name, key), "a string", *found);
    }
  }
}

// Puts reasoning under the names that templates read, as transformers does.
void spread_reasoning(Json& message) {
  for (const char* const key : kReasoning) {
    if (const auto found = message.find(key); found != message.end()) {
      const std::string text = *found;
      if (!message.contains("thinking")) {
        message["thinking"] = text;
      }
      message["reasoning_content"] = text;
      return;
    }
  }
}

// An assistant's `function_call`, as answers to `functions` have it, is a tool call by its older name.
void modernise_call(Json& message) {
  const auto call = message.find("function_call");
  if (call == message.end() || !call->is_object() || message.contains("tool_calls")) {
    return;
  }
  Json made = Json::object();
  made["type"] = "function";
  made["function"] = std::move(*call);
  message.erase("function_call");
  message["tool_calls"] = Json::array({std::move(made)});
}

void normalise_tool_calls(Json& calls, const std::string& name, FieldReader& reader) {
  if (!calls.is_array()) {
    reader.fail_type(name, "an array", calls);
    return;
  }
  for (std::size_t i = 0; i < calls.size() && !reader.failed(); ++i) {
    Json& call = calls[i];
    const std::string where = fmt::format("{}[{}]", name, i);
    const auto function = call.is_object() ? call.find("function") : call.end();
    if (!call.is_object() || function == call.end() || !function->is_object()) {
      reader.fail(bad_value(where, fmt::format("'{}' must be an object with a 'function' object", where)));
      return;
    }
    const auto called = function->find("name");
    if (called == function->end() || !called->is_string()) {
      const std::string field = where + ".function.name";
      reader.fail(bad_value(field, fmt::format("'{}' must be a string", field)));
      return;
    }
    drop_members(call, [](const auto& member) { return member.first != "function" && is_empty(member.second); });
    if (const auto id = call.find("id"); id != call.end() && !id->is_string()) {
      reader.fail_type(where + ".id", "a string", *id);
    }
  }
}

// `ends` gets the bytes of text up to the end of each part with a breakpoint.
void normalise_content(Json& message, const std::string& name, FieldReader& reader, std::vector<std::size_t>& ends) {
  const auto content = message.find("content");
  if (content != message.end() && !content->is_null()) {
    if (std::optional<std::string> text = read_content(*content, name + ".content", reader, &ends)) {
      *content = std::move(*text);
    }
    return;
  }
  if (const auto refusal = message.find("refusal"); refusal != message.end()) {
    message["content"] = std::string(*refusal);
    return;
  }
  if (message["role"] != "assistant") {
    reader.fail(bad_value(name + ".content", fmt::format("'{}.content' must be a string or an array of text parts; "
                                                         "only an assistant's may be missing",
                                                         name)));
    return;
  }
  message["content"] = nullptr;
}

// The text of one part of a content; null for a part that has none.
const std::string* text_of_part(const Json& part) {
  for (const char* const key : {"text", "refusal"}) {
    const auto type = part.find("type");
    const auto words = part.find(key);
    if (type != part.end() && *type == key && words != part.end() && words->is_string()) {
      return &words->get_ref<const std::string&>();
    }
  }
  return nullptr;
}

// Whether a content part asks to keep the prompt up to its end. ERRORS: in `reader`.
bool read_breakpoint(const Json& part, const std::string& name, FieldReader& reader) {
  const auto given = part.find("prompt_cache_breakpoint");
  if (given == part.end() || given->is_null()) {
    return false;
  }
  const auto mode = given->is_object() ? given->find("mode") : given->end();
  if (!given->is_object() || (mode != given->end() && *mode != "explicit")) {
    reader.fail_type(name + ".prompt_cache_breakpoint", "the object {\"mode\":\"explicit\"}", *given);
  }
  return true;
}

ApiError wrong_part(const Json& part, const std::string& name) {
  const auto type = part.is_object() ? part.find("type") : part.end();
  if (!part.is_object() || type == part.end() || !type->is_string()) {
    return not_supported(name, fmt::format("'{}' may only hold parts of type \"text\"; got {}", name, describe(part)));
  }
  if (*type == "text" || *type == "refusal") {
    return bad_value(name, fmt::format("'{}' has a text part without a string '{}'", name, type->get<std::string>()));
  }
  return not_supported(name, fmt::format("'{}' may only hold parts of type \"text\"; got type {}", name,
                                         type->dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 60)));
}

}  // namespace

std::optional<std::string> read_content(const Json& content, const std::string& name, FieldReader& reader,
                                        std::vector<std::size_t>* breakpoints) {
  if (content.is_string()) {
    return content.get_ref<const std::string&>();
  }
  if (!content.is_array()) {
    reader.fail_type(name, "a string or an array of text parts", content);
    return std::nullopt;
  }
  std::string text;
  for (const Json& part : content) {
    const std::string* const words = part.is_object() ? text_of_part(part) : nullptr;
    if (words == nullptr) {
      reader.fail(wrong_part(part, name));
      return std::nullopt;
    }
    text += (text.empty() ? "" : "\n") + *words;
    if (breakpoints != nullptr && read_breakpoint(part, name, reader)) {
      breakpoints->push_back(text.size());
    }
  }
  return text;
}

Json tool_arguments(const Json& sent, const RequestLimits& limits) {
  if (!sent.is_string()) {
    return sent.is_null() ? Json::object() : sent;
  }
  const auto& text = sent.get_ref<const std::string&>();
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
    return Json::object();
  }
  Result<Json> parsed = parse_json(text, limits);
  if (!parsed.ok() || parsed.value().is_string()) {
    return sent;
  }
  return parsed.value().is_null() ? Json::object() : std::move(parsed.value());
}

void normalise_message(Json& message, std::size_t index, const RequestLimits& limits, FieldReader& reader,
                       CacheBreakpoints& marks) {
  const std::string name = fmt::format("messages[{}]", index);
  if (!message.is_object()) {
    reader.fail_type(name, "an object with 'role' and 'content'", message);
    return;
  }
  const auto role = message.find("role");
  if (role == message.end() || !role->is_string() || role->get_ref<const std::string&>().empty() ||
      role->get_ref<const std::string&>().size() > static_cast<std::size_t>(limits.name_bytes_max)) {
    reader.fail(bad_value(name + ".role", fmt::format("'{}.role' must be a string such as \"user\"", name)));
    return;
  }
  drop_empty_members(message);
  check_texts(message, name, reader);
  if (reader.failed()) {
    return;
  }
  spread_reasoning(message);
  modernise_call(message);
  if (const auto calls = message.find("tool_calls"); calls != message.end()) {
    normalise_tool_calls(*calls, name + ".tool_calls", reader);
  }
  std::vector<std::size_t> ends;
  normalise_content(message, name, reader, ends);
  for (const std::size_t bytes : ends) {
    marks.push_back({.messages = index + 1, .content_bytes = bytes});
  }
}

void normalise_tool(Json& tool, std::size_t index, FieldReader& reader) {
  const std::string name = fmt::format("tools[{}]", index);
  const auto function = tool.is_object() ? tool.find("function") : tool.end();
  if (!tool.is_object() || function == tool.end() || !function->is_object()) {
    reader.fail(bad_value(
        "tools", fmt::format("'{}' must be an object with 'type' \"function\" and a 'function' object", name)));
    return;
  }
  const auto called = function->find("name");
  if (called == function->end() || !called->is_string()) {
    reader.fail(bad_value("tools", fmt::format("'{}.function.name' must be a string", name)));
    return;
  }
  drop_members(*function, [](const auto& member) { return member.second.is_null(); });
}

}  // namespace coppice::openai
