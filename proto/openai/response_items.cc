// One function a kind of item.
#include "proto/openai/response_items.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

namespace coppice::openai {
namespace {

constexpr std::string_view kIdPrefix = "resp_";

const Json* find(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

// A text member; "" when it is absent.
std::string text_of(const Json& object, const char* name) {
  const Json* const value = find(object, name);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

std::string type_of(const Json& item) {
  const std::string type = text_of(item, "type");
  return type.empty() && item.contains("role") ? "message" : type;
}

// A name or an id, required and bounded; "" after a failure.
std::string name_of(const Json& item, const char* key, const std::string& name, ItemReading& reading) {
  const Json* const value = find(item, key);
  const auto most = static_cast<std::size_t>(reading.limits.name_bytes_max);
  if (value == nullptr || !value->is_string() || value->get_ref<const std::string&>().empty() ||
      value->get_ref<const std::string&>().size() > most) {
    const std::string field = fmt::format("{}.{}", name, key);
    reading.reader.fail(bad_value(field, fmt::format("'{}' must be a string of 1 to {} bytes", field, most)));
    return "";
  }
  return value->get<std::string>();
}

// Parts that are text, whichever side wrote them; the name of the member that holds it.
const char* text_member(std::string_view type) {
  for (const char* const plain : {"input_text", "output_text", "text", "summary_text", "reasoning_text"}) {
    if (type == plain) {
      return "text";
    }
  }
  return type == "refusal" ? "refusal" : nullptr;
}

// Text and where in it the client asks to keep the prefix.
struct Content {
  std::string text;
  std::vector<std::size_t> breakpoints;  // bytes
};

void read_part(const Json& part, const std::string& name, FieldReader& reader, Content& content) {
  const std::string type = part.is_object() ? text_of(part, "type") : "";
  const char* const member = text_member(type);
  if (member == nullptr) {
    const std::string got = type.empty() ? describe(part) : fmt::format("type \"{}\"", type.substr(0, 60));
    reader.fail(not_supported(name, fmt::format("'{}' may only hold parts of text; got {}", name, got)));
    return;
  }
  const Json* const text = find(part, member);
  if (text == nullptr || !text->is_string()) {
    reader.fail(
        bad_value(name, fmt::format("'{}' has a part of type \"{}\" without a string '{}'", name, type, member)));
    return;
  }
  content.text += (content.text.empty() ? "" : "\n") + text->get_ref<const std::string&>();
  if (part.contains("prompt_cache_breakpoint") && !part["prompt_cache_breakpoint"].is_null()) {
    content.breakpoints.push_back(content.text.size());
  }
}

Content read_text(const Json& item, const char* key, const std::string& name, FieldReader& reader) {
  Content content;
  const std::string field = fmt::format("{}.{}", name, key);
  const Json* const value = find(item, key);
  if (value == nullptr || !(value->is_string() || value->is_array())) {
    reader.fail_type(field, "a string or an array of parts", value == nullptr ? Json() : *value);
  } else if (value->is_string()) {
    content.text = value->get<std::string>();
  } else {
    for (const Json& part : *value) {
      read_part(part, field, reader, content);
    }
  }
  return content;
}

void add_breakpoints(const Content& content, ItemReading& reading) {
  const std::size_t before = reading.conversation.last_bytes() - content.text.size();  // of text it was joined to
  std::transform(content.breakpoints.begin(), content.breakpoints.end(), std::back_inserter(reading.breakpoints),
                 [&](std::size_t bytes) {
                   return CacheBreakpoint{reading.conversation.size(), before + bytes};
                 });
}

void add_message(const Json& item, const std::string& name, ItemReading& reading) {
  const std::string role = name_of(item, "role", name, reading);
  const Content content = read_text(item, "content", name, reading.reader);
  if (!reading.reader.failed()) {
    reading.conversation.add_message(role, content.text);
    add_breakpoints(content, reading);
  }
}

// The name by which a call and its output know each other.
std::string call_id_of(const Json& item, const std::string& name, ItemReading& reading) {
  return name_of(item, find(item, "call_id") == nullptr && find(item, "id") != nullptr ? "id" : "call_id", name,
                 reading);
}

void add_call(const Json& item, const std::string& name, ItemReading& reading) {
  std::string call_id = call_id_of(item, name, reading);
  std::string function = name_of(item, "name", name, reading);
  const Json* const arguments = find(item, "arguments");
  if (arguments != nullptr && !arguments->is_string()) {
    reading.reader.fail_type(name + ".arguments", "a string of JSON", *arguments);
  }
  if (!reading.reader.failed()) {
    reading.conversation.add_call(std::move(call_id), std::move(function),
                                  arguments == nullptr ? Json("") : *arguments);
  }
}

// A tool that takes text instead of JSON: for templates, a function of one argument.
void add_custom_call(const Json& item, const std::string& name, ItemReading& reading) {
  std::string call_id = call_id_of(item, name, reading);
  std::string function = name_of(item, "name", name, reading);
  if (!reading.reader.failed()) {
    Json arguments = Json::object();
    arguments["input"] = text_of(item, "input");
    reading.conversation.add_call(std::move(call_id), std::move(function), std::move(arguments));
  }
}

void add_call_output(const Json& item, const std::string& name, ItemReading& reading) {
  std::string call_id = call_id_of(item, name, reading);
  const Content content = read_text(item, "output", name, reading.reader);
  if (!reading.reader.failed()) {
    reading.conversation.add_result(std::move(call_id), content.text);
    add_breakpoints(content, reading);
  }
}

// The text of what was thought, or of its summary; what is encrypted says nothing here.
void add_reasoning(const Json& item, const std::string& name, ItemReading& reading) {
  for (const char* const key : {"content", "summary"}) {
    const Json* const parts = find(item, key);
    if (parts == nullptr || (parts->is_array() && parts->empty())) {
      continue;
    }
    Content content = read_text(item, key, name, reading.reader);
    if (!reading.reader.failed() && !content.text.empty()) {
      reading.conversation.add_reasoning(std::move(content.text));
    }
    return;
  }
}

void refuse_reference(const Json& /*item*/, const std::string& name, ItemReading& reading) {
  reading.reader.fail(not_supported(
      name,
      fmt::format("'{}' refers to an item by its id: send the item itself, or use 'previous_response_id'", name)));
}

struct ItemKind {
  std::string_view type;
  void (*add)(const Json& item, const std::string& name, ItemReading& reading);
};
constexpr ItemKind kItemKinds[] = {
    {"message", &add_message},
    {"function_call", &add_call},
    {"function_call_output", &add_call_output},
    {"custom_tool_call", &add_custom_call},
    {"custom_tool_call_output", &add_call_output},
    {"reasoning", &add_reasoning},
    {"item_reference", &refuse_reference},
};

void read_item(const Json& item, const std::string& name, ItemReading& reading) {
  if (!item.is_object()) {
    reading.reader.fail_type(name, "an object with a 'type' or a 'role'", item);
    return;
  }
  const std::string type = type_of(item);
  if (type.empty()) {
    const bool is_reference = find(item, "type") == nullptr && find(item, "id") != nullptr;
    if (is_reference) {
      refuse_reference(item, name, reading);
    } else {
      reading.reader.fail(
          bad_value(name + ".type", fmt::format("'{}.type' must be a string such as \"message\"", name)));
    }
    return;
  }
  const auto* const kind = std::find_if(std::begin(kItemKinds), std::end(kItemKinds),
                                        [&type](const ItemKind& known) { return known.type == type; });
  if (kind == std::end(kItemKinds)) {
    reading.ignored.add("input." + type);
    return;
  }
  kind->add(item, name, reading);
}

std::string_view id_prefix(std::string_view type) {
  return type == "message" ? "msg" : type == "function_call" ? "fc" : type == "reasoning" ? "rs" : "item";
}

}  // namespace

void read_items(const Json& items, const std::string& name, ItemReading& reading) {
  if (items.is_string()) {
    reading.conversation.add_message("user", items.get<std::string>());
    return;
  }
  if (!items.is_array() || items.size() > static_cast<std::size_t>(reading.limits.messages_max)) {
    reading.reader.fail_type(name, fmt::format("text or an array of at most {} items", reading.limits.messages_max),
                             items);
    return;
  }
  for (std::size_t i = 0; i < items.size() && !reading.reader.failed(); ++i) {
    read_item(items[i], fmt::format("{}[{}]", name, i), reading);
  }
}

Json text_item(std::string text) {
  Json item = Json::object();
  item["type"] = "message";
  item["role"] = "user";
  item["content"] = std::move(text);
  return item;
}

Json listed_item(const Json& item, const std::string& response_id, std::size_t number) {
  const std::string type = type_of(item);
  Json listed = Json::object();
  listed["id"] = text_of(item, "id");
  if (listed["id"].get_ref<const std::string&>().empty()) {
    const std::size_t cut = response_id.starts_with(kIdPrefix) ? kIdPrefix.size() : 0;
    listed["id"] = fmt::format("{}_{}_{}", id_prefix(type), response_id.substr(cut), number);
  }
  listed["type"] = type;
  for (const auto& [key, value] : item.items()) {
    if (key != "id" && key != "type") {
      listed[key] = value;
    }
  }
  if (type == "reasoning") {
    listed.emplace("summary", Json::array());
    return listed;
  }
  listed.emplace("status", "completed");
  if (type == "message" && listed["content"].is_string()) {
    const bool is_output = text_of(item, "role") == "assistant";
    Json part = Json::object();
    part["type"] = is_output ? "output_text" : "input_text";
    part["text"] = std::move(listed["content"]);
    if (is_output) {
      part["annotations"] = Json::array();
      part["logprobs"] = Json::array();
    }
    listed["content"] = Json::array();
    listed["content"].push_back(std::move(part));
  }
  return listed;
}

}  // namespace coppice::openai
