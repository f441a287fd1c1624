// One function a kind of block.
#include "proto/anthropic/message_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace coppice::anthropic {
namespace {

using openai::bad_value;
using openai::CacheBreakpoint;
using openai::not_supported;

constexpr std::string_view kBillingHeader = "x-anthropic-billing-header:";

// A block and where it stands.
struct Block {
  const Json& json;
  std::string name;  // "messages[0].content[1]"
  const std::string& role;
};

const Json* find(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string text_of(const Json& object, const char* key) {
  const Json* const value = find(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

// A required string of at most `most` bytes; 0 = unbounded. Null after a failure.
const std::string* string_of(const Block& block, const char* key, std::int64_t most, BlockReading& reading) {
  const Json* const value = find(block.json, key);
  const std::string* const text =
      value != nullptr && value->is_string() ? &value->get_ref<const std::string&>() : nullptr;
  if (text == nullptr) {
    reading.reader.fail(
        bad_value(fmt::format("{}.{}", block.name, key), fmt::format("'{}.{}' must be a string", block.name, key)));
  } else if (most > 0 && (text->empty() || text->size() > static_cast<std::size_t>(most))) {
    reading.reader.fail(bad_value(fmt::format("{}.{}", block.name, key),
                                  fmt::format("'{}.{}' must be a string of 1 to {} bytes", block.name, key, most)));
    return nullptr;
  }
  return text;
}

void add_text(const Block& block, std::string_view text, BlockReading& reading) {
  reading.conversation.join_message(block.role, std::string(text));
  read_cache_control(block.json, block.name, reading.conversation.size(), reading.conversation.last_bytes(), reading);
}

void add_text_block(const Block& block, BlockReading& reading) {
  if (const std::string* const text = string_of(block, "text", 0, reading)) {
    add_text(block, *text, reading);
  }
}

// A document that is text already is text; the others need eyes.
void add_document(const Block& block, BlockReading& reading) {
  const Json* const source = find(block.json, "source");
  if (source != nullptr && source->is_object() && text_of(*source, "type") == "text") {
    add_text(block, text_of(*source, "data"), reading);
    return;
  }
  reading.reader.fail(not_supported(
      block.name, fmt::format("'{}' is a document that is not text: this server reads text alone", block.name)));
}

void refuse_block(const Block& block, BlockReading& reading) {
  reading.reader.fail(not_supported(block.name, fmt::format("'{}' may only hold text; got a block of type \"{}\"",
                                                            block.name, text_of(block.json, "type").substr(0, 40))));
}

bool is_role(const Block& block, std::string_view role, BlockReading& reading) {
  if (block.role != role) {
    reading.reader.fail(
        bad_value(block.name, fmt::format("'{}': a block of type \"{}\" belongs into a message of the {}", block.name,
                                          text_of(block.json, "type").substr(0, 40), role)));
  }
  return block.role == role;
}

void add_thinking(const Block& block, BlockReading& reading) {
  const std::string* const text = string_of(block, "thinking", 0, reading);
  if (text != nullptr && is_role(block, "assistant", reading) && !text->empty()) {
    reading.conversation.add_reasoning(*text);
  }
}

void add_tool_use(const Block& block, BlockReading& reading) {
  const std::string* const id = string_of(block, "id", reading.limits.name_bytes_max, reading);
  const std::string* const name = string_of(block, "name", reading.limits.name_bytes_max, reading);
  const Json* const input = find(block.json, "input");
  if (input != nullptr && !input->is_object()) {
    reading.reader.fail_type(block.name + ".input", "an object", *input);
  }
  if (id == nullptr || name == nullptr || reading.reader.failed() || !is_role(block, "assistant", reading)) {
    return;
  }
  reading.conversation.add_call(*id, *name, input == nullptr ? Json::object() : *input);
  read_cache_control(block.json, block.name, reading.conversation.size(), CacheBreakpoint::kWholeMessage, reading);
}

// The text of a result: a string, or blocks of text.
std::string result_text(const Block& block, BlockReading& reading) {
  const Json* const content = find(block.json, "content");
  if (content == nullptr) {
    return "";
  }
  if (content->is_string()) {
    return content->get<std::string>();
  }
  if (!content->is_array()) {
    reading.reader.fail_type(block.name + ".content", "a string or an array of text blocks", *content);
    return "";
  }
  std::string text;
  for (std::size_t i = 0; i < content->size() && !reading.reader.failed(); ++i) {
    const Block part{(*content)[i], fmt::format("{}.content[{}]", block.name, i), block.role};
    if (!part.json.is_object()) {
      reading.reader.fail_type(part.name, "a text block", part.json);
    } else if (text_of(part.json, "type") != "text") {
      refuse_block(part, reading);
    } else if (const std::string* const words = string_of(part, "text", 0, reading)) {
      text += (text.empty() ? "" : "\n") + *words;
    }
  }
  return text;
}

void add_tool_result(const Block& block, BlockReading& reading) {
  const std::string* const id = string_of(block, "tool_use_id", reading.limits.name_bytes_max, reading);
  std::string text = result_text(block, reading);
  if (id == nullptr || reading.reader.failed() || !is_role(block, "user", reading)) {
    return;
  }
  reading.conversation.add_result(*id, std::move(text));
  read_cache_control(block.json, block.name, reading.conversation.size(), CacheBreakpoint::kWholeMessage, reading);
}

struct BlockKind {
  std::string_view type;
  void (*add)(const Block& block, BlockReading& reading);
};
constexpr BlockKind kBlockKinds[] = {
    {"text", &add_text_block},         {"thinking", &add_thinking}, {"tool_use", &add_tool_use},
    {"tool_result", &add_tool_result}, {"document", &add_document}, {"image", &refuse_block},
    {"search_result", &refuse_block},
};

void add_block(const Block& block, BlockReading& reading) {
  const std::string type = block.json.is_object() ? text_of(block.json, "type") : "";
  if (type.empty()) {
    reading.reader.fail_type(block.name, "an object with a 'type' such as \"text\"", block.json);
    return;
  }
  const auto* const kind = std::find_if(std::begin(kBlockKinds), std::end(kBlockKinds),
                                        [&type](const BlockKind& known) { return known.type == type; });
  if (kind == std::end(kBlockKinds)) {
    reading.ignored.add("content." + type);
  } else {
    kind->add(block, reading);
  }
}

void read_message(const Json& message, const std::string& name, BlockReading& reading) {
  if (!message.is_object()) {
    reading.reader.fail_type(name, "an object with 'role' and 'content'", message);
    return;
  }
  const std::string role = text_of(message, "role");
  if (role != "user" && role != "assistant" && role != "system") {
    reading.reader.fail(
        bad_value(name + ".role", fmt::format("'{}.role' must be \"user\", \"assistant\" or \"system\"", name)));
    return;
  }
  const Json* const content = find(message, "content");
  if (content == nullptr || !(content->is_string() || content->is_array())) {
    reading.reader.fail_type(name + ".content", "a string or an array of blocks",
                             content == nullptr ? Json() : *content);
  } else if (content->is_string()) {
    reading.conversation.join_message(role, content->get<std::string>());
  } else {
    for (std::size_t i = 0; i < content->size() && !reading.reader.failed(); ++i) {
      add_block({(*content)[i], fmt::format("{}.content[{}]", name, i), role}, reading);
    }
  }
}

}  // namespace

std::string_view without_billing_header(std::string_view text) {
  while (text.starts_with(kBillingHeader)) {
    const std::size_t end = text.find('\n');
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return text;
}

void read_cache_control(const Json& object, const std::string& name, std::size_t messages, std::size_t content_bytes,
                        BlockReading& reading) {
  const Json* const control = find(object, "cache_control");
  if (control == nullptr) {
    return;
  }
  const std::string field = name.empty() ? "cache_control" : name + ".cache_control";
  if (!control->is_object() || text_of(*control, "type") != "ephemeral") {
    reading.reader.fail_type(field, "an object with 'type' \"ephemeral\"", *control);
    return;
  }
  const Json* const ttl = find(*control, "ttl");
  if (ttl != nullptr && *ttl != "5m" && *ttl != "1h") {
    reading.reader.fail_type(field + ".ttl", "\"5m\" or \"1h\"", *ttl);
    return;
  }
  if (reading.breakpoints.size() == openai::kCacheBreakpointsMax) {
    reading.reader.fail(bad_value(field, fmt::format("at most {} blocks may have 'cache_control'; '{}' is one more",
                                                     openai::kCacheBreakpointsMax, field)));
    return;
  }
  const bool is_long = ttl != nullptr && *ttl == "1h";
  reading.breakpoints.push_back({messages, content_bytes, is_long ? openai::kLongCacheTime : openai::kShortCacheTime});
}

void read_system(const Json& system, BlockReading& reading) {
  static const std::string role = "system";
  if (system.is_string()) {
    const std::string_view text = without_billing_header(system.get_ref<const std::string&>());
    if (!text.empty()) {
      reading.conversation.join_message(role, std::string(text));
    }
    return;
  }
  if (!system.is_array()) {
    reading.reader.fail_type("system", "a string or an array of text blocks", system);
    return;
  }
  for (std::size_t i = 0; i < system.size() && !reading.reader.failed(); ++i) {
    const Block block{system[i], fmt::format("system[{}]", i), role};
    if (!block.json.is_object() || text_of(block.json, "type") != "text") {
      reading.reader.fail_type(block.name, "a text block", block.json);
    } else if (const std::string* const text = string_of(block, "text", 0, reading)) {
      const std::string_view kept = without_billing_header(*text);
      if (!kept.empty()) {
        reading.conversation.join_message(role, std::string(kept));
      }
      read_cache_control(block.json, block.name, reading.conversation.size(), reading.conversation.last_bytes(),
                         reading);
    }
  }
}

void read_messages(const Json& messages, BlockReading& reading) {
  const auto most = static_cast<std::size_t>(reading.limits.messages_max);
  if (!messages.is_array() || messages.empty() || messages.size() > most) {
    reading.reader.fail_type("messages", fmt::format("an array of 1 to {} messages", most), messages);
    return;
  }
  for (std::size_t i = 0; i < messages.size() && !reading.reader.failed(); ++i) {
    read_message(messages[i], fmt::format("messages[{}]", i), reading);
  }
}

}  // namespace coppice::anthropic
