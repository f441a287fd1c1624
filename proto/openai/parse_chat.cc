// Conversations: checks messages and tools and brings them into the one form that chat templates are written for.
#include "proto/openai/parse_chat.h"

#include <fmt/format.h>

#include <memory>

namespace coppice::openai {
namespace {

// OpenAI sends arguments as a string of JSON; templates want the object.
void normalise_tool_calls(Json& calls, const std::string& name, const RequestLimits& limits, FieldReader& reader) {
  if (!calls.is_array()) {
    reader.fail_type(name, "an array", calls);
    return;
  }
  for (Json& call : calls) {
    const auto function = call.is_object() ? call.find("function") : call.end();
    if (!call.is_object() || function == call.end() || !function->is_object()) {
      reader.fail(bad_value(name, fmt::format("'{}' must hold objects with a 'function' object", name)));
      return;
    }
    const auto arguments = function->find("arguments");
    if (arguments != function->end() && arguments->is_string()) {
      Result<Json> parsed = parse_json(arguments->get_ref<const std::string&>(), limits);
      if (parsed.ok() && parsed.value().is_object()) {
        *arguments = std::move(parsed.value());
      }
    }
  }
}

void normalise_message(Json& message, std::size_t index, const RequestLimits& limits, FieldReader& reader) {
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
  if (const auto calls = message.find("tool_calls"); calls != message.end() && !calls->is_null()) {
    normalise_tool_calls(*calls, name + ".tool_calls", limits, reader);
  }
  const auto content = message.find("content");
  if (content != message.end() && content->is_string()) {
    return;
  }
  if (content != message.end() && !content->is_null()) {
    if (std::optional<std::string> text = read_content(*content, name + ".content", reader)) {
      *content = std::move(*text);
    }
    return;
  }
  if (*role != "assistant") {
    reader.fail(bad_value(name + ".content", fmt::format("'{}.content' must be a string or an array of text parts; "
                                                         "only an assistant's may be missing",
                                                         name)));
  } else if (content == message.end()) {
    message["content"] = nullptr;
  }
}

// The member of `object` when it is there and not null.
Json* find(Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::shared_ptr<const Json> take(Json& value) {
  return std::make_shared<const Json>(std::move(value));
}

void take_tools(Json& object, FieldReader& reader, const RequestLimits& limits, ChatFields& chat) {
  Json* const tools = find(object, "tools");
  if (tools != nullptr) {
    if (!tools->is_array() || tools->size() > static_cast<std::size_t>(limits.tools_max)) {
      reader.fail_type("tools", fmt::format("an array of at most {} tools", limits.tools_max), *tools);
      return;
    }
    for (const Json& tool : *tools) {
      if (!tool.is_object() || !tool.contains("function") || !tool["function"].is_object()) {
        reader.fail(bad_value("tools", "'tools' must hold objects with 'type' \"function\" and a 'function' object"));
        return;
      }
    }
  }
  const bool has_tools = tools != nullptr && !tools->empty();
  bool uses_tools = has_tools;
  if (const Json* const choice = reader.find("tool_choice"); choice != nullptr) {
    if (*choice == "none") {
      uses_tools = false;
    } else if (*choice == "auto") {
      uses_tools = has_tools;
    } else {
      reader.fail(not_supported("tool_choice",
                                "'tool_choice' may be \"auto\" or \"none\": forcing a tool is not "
                                "supported yet; got " +
                                    describe(*choice)));
      return;
    }
  }
  if (uses_tools) {
    chat.tools = take(*tools);
    chat.has_tools = true;
  }
}

void take_messages(Json& object, FieldReader& reader, const RequestLimits& limits, ChatFields& chat) {
  Json* const messages = find(object, "messages");
  if (messages == nullptr) {
    reader.fail(bad_value("messages", "'messages' is missing: send an array of {\"role\", \"content\"}"));
    return;
  }
  const auto count_max = static_cast<std::size_t>(limits.messages_max);
  if (!messages->is_array() || messages->empty() || messages->size() > count_max) {
    reader.fail_type("messages", fmt::format("an array of 1 to {} messages", count_max), *messages);
    return;
  }
  for (std::size_t i = 0; i < messages->size() && !reader.failed(); ++i) {
    normalise_message((*messages)[i], i, limits, reader);
  }
  chat.messages = take(*messages);
}

void take_template_options(Json& object, FieldReader& reader, const RequestLimits& limits, ChatFields& chat) {
  reader.read("add_generation_prompt", chat.add_generation_prompt);
  reader.read("continue_final_message", chat.continue_final_message);
  // The default of add_generation_prompt gives way to continue_final_message; saying both is a contradiction.
  if (chat.continue_final_message && reader.has("add_generation_prompt") && chat.add_generation_prompt) {
    reader.fail(bad_value("continue_final_message",
                          "'continue_final_message' and 'add_generation_prompt' cannot both be true"));
  }
  chat.add_generation_prompt = chat.add_generation_prompt && !chat.continue_final_message;
  if (reader.has("chat_template")) {
    reader.fail(
        not_supported("chat_template", "'chat_template' in a request is not supported: the model's own is used"));
  }
  Json* const kwargs = find(object, "chat_template_kwargs");
  if (kwargs == nullptr || reader.failed()) {
    return;
  }
  if (!kwargs->is_object()) {
    reader.fail_type("chat_template_kwargs", "an object", *kwargs);
    return;
  }
  if (kwargs->size() > static_cast<std::size_t>(limits.template_kwargs_max)) {
    reader.fail(
        bad_value("chat_template_kwargs", fmt::format("'chat_template_kwargs' must have at most {} names; got {}",
                                                      limits.template_kwargs_max, kwargs->size())));
    return;
  }
  chat.template_kwargs = take(*kwargs);
}

}  // namespace

std::optional<std::string> read_content(const Json& content, const std::string& name, FieldReader& reader) {
  if (content.is_string()) {
    return content.get_ref<const std::string&>();
  }
  if (!content.is_array()) {
    reader.fail_type(name, "a string or an array of text parts", content);
    return std::nullopt;
  }
  std::string text;
  for (const Json& part : content) {
    const auto type = part.is_object() ? part.find("type") : part.end();
    const bool is_text = part.is_object() && type != part.end() && *type == "text";
    if (!is_text) {
      const bool typed = part.is_object() && type != part.end() && type->is_string();
      reader.fail(not_supported(
          name, fmt::format("'{}' may only hold parts of type \"text\"; got {}", name,
                            typed ? "type " + type->dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 60)
                                  : describe(part))));
      return std::nullopt;
    }
    const auto words = part.find("text");
    if (words == part.end() || !words->is_string()) {
      reader.fail(bad_value(name, fmt::format("'{}' has a text part without a string 'text'", name)));
      return std::nullopt;
    }
    text += (text.empty() ? "" : "\n") + words->get_ref<const std::string&>();
  }
  return text;
}

void take_chat_fields(Json& object, FieldReader& reader, const RequestLimits& limits, ChatFields& chat) {
  take_messages(object, reader, limits, chat);
  take_tools(object, reader, limits, chat);
  take_template_options(object, reader, limits, chat);
}

}  // namespace coppice::openai
