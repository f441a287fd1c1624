// Names of tools, and choices among them.
#include "proto/openai/parse_tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "proto/openai/normalise_message.h"

namespace coppice::openai {
namespace {

constexpr const char* kChoices =
    "\"auto\", \"none\", \"required\", {\"type\":\"function\",\"function\":{\"name\"}} or allowed tools";

// The member of `object` when it is there and not null.
const Json* find(const Json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

// {"type":"function","function":{"name":"f"}}, as chats have it, or {"type":"function","name":"f"}, as responses do;
// "": neither.
std::string name_of(const Json& tool) {
  const Json* const inner = find(tool, "function");
  const Json* const name = find(inner == nullptr ? tool : *inner, "name");
  return name != nullptr && name->is_string() ? name->get<std::string>() : "";
}

bool is_of_type(const Json& value, const char* type) {
  const Json* const given = find(value, "type");
  return given != nullptr && *given == type;
}

// Of chats: {"type":"allowed_tools","allowed_tools":{"mode","tools"}}; of responses the same in one object.
void read_allowed(const Json& choice, FieldReader& reader, ToolChoiceFields& fields) {
  const Json* const inner = find(choice, "allowed_tools");
  const Json& allowed = inner == nullptr ? choice : *inner;
  const Json* const mode = find(allowed, "mode");
  const Json* const tools = find(allowed, "tools");
  if (mode == nullptr || (*mode != "auto" && *mode != "required") || tools == nullptr || !tools->is_array()) {
    reader.fail_type("tool_choice", "allowed tools with a 'mode', \"auto\" or \"required\", and 'tools'", choice);
    return;
  }
  fields.choice = *mode == "required" ? ToolChoice::kRequired : ToolChoice::kAuto;
  fields.allowed.emplace();
  for (const Json& tool : *tools) {
    fields.allowed->push_back(name_of(tool));
  }
}

void name_tool(const Json& choice, const char* field, FieldReader& reader, ToolChoiceFields& fields) {
  fields.choice = ToolChoice::kNamed;
  fields.name = name_of(choice);
  if (fields.name.empty()) {
    reader.fail_type(field, "an object with the 'name' of a function", choice);
  }
}

// What every way of writing calls can carry: OpenAI's letters, and those that names of MCP servers' tools and of other
// scripts have. White space, quotes, brackets and "=" have a meaning in one format or another.
bool is_tool_name(std::string_view name) {
  constexpr std::size_t kBytesMax = 128;  // MCP's and Anthropic's limit; OpenAI's is 64
  constexpr unsigned char kAscii = 0x80;  // bytes below are
  const auto is_part = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_-.:/").find(c) != std::string_view::npos || static_cast<unsigned char>(c) >= kAscii;
  };
  return !name.empty() && name.size() <= kBytesMax && std::all_of(name.begin(), name.end(), is_part);
}

// ERRORS: in `reader`, for a name that is none, and for two of the same. `field`: where the tools came from.
void check_names(const Json& tools, const char* field, FieldReader& reader) {
  std::set<std::string_view> names;
  for (const Json& tool : tools) {
    const auto& name = tool["function"]["name"].get_ref<const std::string&>();
    const std::string shown = name.substr(0, 60);
    if (!is_tool_name(name)) {
      reader.fail(bad_value(field, fmt::format("'{}' has a function named \"{}\"; names have 1 to 128 letters, digits "
                                               "and characters of \"_-.:/\"",
                                               field, shown)));
      return;
    }
    if (!names.insert(name).second) {
      reader.fail(bad_value(field, fmt::format("two of '{}' are named \"{}\"", field, shown)));
      return;
    }
  }
}

bool is_named(const Json& tool, const std::string& name) {
  return tool["function"]["name"] == name;
}

Json without(Json tools, const std::vector<std::string>& allowed) {
  Json kept = Json::array();
  for (Json& tool : tools) {
    if (std::any_of(allowed.begin(), allowed.end(),
                    [&tool](const std::string& name) { return is_named(tool, name); })) {
      kept.push_back(std::move(tool));
    }
  }
  return kept;
}

// The array `name` of the body, as tools of the chat API; `is_function`: its items are what is a tool's `function`.
Json take_list(Json& object, const char* name, bool is_function, FieldReader& reader, const RequestLimits& limits) {
  const auto found = object.find(name);
  if (!reader.has(name) || found == object.end()) {
    return Json::array();
  }
  if (!found->is_array() || found->size() > static_cast<std::size_t>(limits.tools_max)) {
    reader.fail_type(name, fmt::format("an array of at most {} tools", limits.tools_max), *found);
    return Json::array();
  }
  Json tools = Json::array();
  for (Json& item : *found) {
    if (is_function && !item.is_object()) {
      reader.fail_type(name, "an array of objects with a 'name'", item);
      return Json::array();
    }
    Json tool = std::move(item);
    if (is_function) {
      Json wrapped = Json::object();
      wrapped["type"] = "function";
      wrapped["function"] = std::move(tool);
      tool = std::move(wrapped);
    }
    normalise_tool(tool, tools.size(), reader);
    if (reader.failed()) {
      return Json::array();
    }
    tools.push_back(std::move(tool));
  }
  return tools;
}

}  // namespace

ToolChoiceFields read_tool_choice(const Json* choice, FieldReader& reader) {
  ToolChoiceFields fields;
  if (choice == nullptr || *choice == "auto") {
    return fields;
  }
  if (*choice == "none") {
    fields.choice = ToolChoice::kNone;
  } else if (*choice == "required") {
    fields.choice = ToolChoice::kRequired;
  } else if (is_of_type(*choice, "function")) {
    name_tool(*choice, "tool_choice", reader, fields);
  } else if (is_of_type(*choice, "allowed_tools")) {
    read_allowed(*choice, reader, fields);
  } else {
    reader.fail_type("tool_choice", kChoices, *choice);
  }
  return fields;
}

void set_tools(Json tools, ToolChoiceFields choice, FieldReader& reader, ChatFields& chat) {
  if (reader.failed()) {
    return;
  }
  check_names(tools, chat.has_functions ? "functions" : "tools", reader);
  if (reader.failed()) {
    return;
  }
  if (choice.allowed) {
    tools = without(std::move(tools), *choice.allowed);
  }
  if (choice.choice == ToolChoice::kNone) {
    chat.tool_choice = ToolChoice::kNone;
    return;
  }
  const bool is_there =
      choice.choice != ToolChoice::kNamed ||
      std::any_of(tools.begin(), tools.end(), [&choice](const Json& tool) { return is_named(tool, choice.name); });
  if (!is_there) {
    reader.fail(bad_value("tool_choice", fmt::format("'tool_choice' names \"{}\", which is not one of 'tools'",
                                                     choice.name.substr(0, 60))));
    return;
  }
  if (choice.choice == ToolChoice::kRequired && tools.empty()) {
    reader.fail(bad_value("tool_choice", "'tool_choice' demands a call, and there are no 'tools' to call"));
    return;
  }
  chat.tool_choice = choice.choice;
  chat.called_tool = std::move(choice.name);
  if (!tools.empty()) {
    chat.tools = std::make_shared<const Json>(std::move(tools));
    chat.has_tools = true;
  }
}

void take_tools(Json& object, FieldReader& reader, const RequestLimits& limits, ChatFields& chat) {
  reader.read("parallel_tool_calls", chat.parallel_tool_calls);
  Json tools = take_list(object, "tools", /*is_function=*/false, reader, limits);
  const Json* const functions = reader.find("functions");
  const Json* const call = reader.find("function_call");
  if (functions == nullptr || (functions->is_array() && functions->empty()) || !tools.empty()) {
    if (call != nullptr && *call != "none" && *call != "auto") {
      reader.fail(bad_value("function_call", "'function_call' chooses among 'functions', and there are none"));
    }
    set_tools(std::move(tools), read_tool_choice(reader.find("tool_choice"), reader), reader, chat);
    return;
  }
  tools = take_list(object, "functions", /*is_function=*/true, reader, limits);
  chat.has_functions = true;
  chat.parallel_tool_calls = false;
  ToolChoiceFields choice;
  if (call != nullptr && call->is_object()) {
    name_tool(*call, "function_call", reader, choice);
  } else if (call != nullptr && *call == "none") {
    choice.choice = ToolChoice::kNone;
  } else if (call != nullptr && *call != "auto") {
    reader.fail_type("function_call", "\"auto\", \"none\" or {\"name\"}", *call);
  }
  set_tools(std::move(tools), std::move(choice), reader, chat);
}

}  // namespace coppice::openai
