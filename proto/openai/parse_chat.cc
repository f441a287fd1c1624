// Conversations: checks messages and tools and brings them into the one form that chat templates are written for.
#include "proto/openai/parse_chat.h"

#include <fmt/format.h>

#include <memory>

#include "proto/openai/normalise_message.h"

namespace coppice::openai {
namespace {

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
    for (std::size_t i = 0; i < tools->size() && !reader.failed(); ++i) {
      normalise_tool((*tools)[i], i, reader);
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
    set_tools(std::move(*tools), chat);
  }
}

void take_messages(Json& object, FieldReader& reader, const RequestLimits& limits, ChatFields& chat) {
  Json* const messages = find(object, "messages");
  if (messages == nullptr) {
    reader.fail(bad_value("messages", "'messages' is missing: send an array of {\"role\", \"content\"}"));
    return;
  }
  set_messages(std::move(*messages), reader, limits, chat);
}

// Sets one argument of the template.
void set_template_argument(const char* name, Json value, ChatFields& chat) {
  Json arguments = chat.template_kwargs == nullptr ? Json::object() : *chat.template_kwargs;
  arguments[name] = std::move(value);
  chat.template_kwargs = take(arguments);
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
  reader.read("chat_template", chat.template_name);
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

void set_messages(Json messages, FieldReader& reader, const RequestLimits& limits, ChatFields& chat) {
  const auto count_max = static_cast<std::size_t>(limits.messages_max);
  if (!messages.is_array() || messages.empty() || messages.size() > count_max) {
    reader.fail_type("messages", fmt::format("an array of 1 to {} messages", count_max), messages);
    return;
  }
  for (std::size_t i = 0; i < messages.size() && !reader.failed(); ++i) {
    normalise_message(messages[i], i, limits, reader, chat.marks);
  }
  chat.messages = take(messages);
}

void set_tools(Json tools, ChatFields& chat) {
  if (!tools.empty()) {
    chat.tools = take(tools);
    chat.has_tools = true;
  }
}

void set_reasoning_effort(const std::string& effort, ChatFields& chat) {
  if (effort == "none") {
    set_thinking(false, chat);
  } else if (!effort.empty()) {
    set_template_argument("reasoning_effort", effort, chat);
  }
}

void set_thinking(bool thinks, ChatFields& chat) {
  set_template_argument("enable_thinking", thinks, chat);
}

void take_chat_fields(Json& object, FieldReader& reader, const RequestLimits& limits, ChatFields& chat) {
  take_messages(object, reader, limits, chat);
  take_tools(object, reader, limits, chat);
  take_template_options(object, reader, limits, chat);
}

}  // namespace coppice::openai
