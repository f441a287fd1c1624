// Conversations: checks messages and tools and brings them into the one form that chat templates are written for.
#include "proto/openai/parse_chat.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <string_view>

#include "proto/openai/normalise_message.h"
#include "proto/openai/parse_tools.h"

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

void set_reasoning_effort(const std::string& effort, ChatFields& chat) {
  if (effort == "none") {
    set_thinking(false, chat);
  } else if (!effort.empty()) {
    set_template_argument("reasoning_effort", effort, chat);
  }
}

void read_reasoning_effort(const char* name, FieldReader& reader, ChatFields& chat) {
  std::string effort;
  reader.read(name, effort);
  constexpr std::string_view kEfforts[] = {"", "none", "minimal", "low", "medium", "high", "xhigh", "max"};
  if (std::find(std::begin(kEfforts), std::end(kEfforts), effort) == std::end(kEfforts)) {
    reader.fail(bad_value(reader.full_name(name),
                          fmt::format("'{}' must be \"none\", \"minimal\", \"low\", \"medium\", \"high\", "
                                      "\"xhigh\" or \"max\"; got \"{}\"",
                                      reader.full_name(name), effort.substr(0, 40))));
    return;
  }
  set_reasoning_effort(effort, chat);
}

void read_thinking_budget(const char* name, FieldReader& reader, ChatFields& chat) {
  reader.read(name, chat.thinking_budget);
  if (reader.has(name)) {
    chat.thinking_budget_field = reader.full_name(name);
  }
  if (chat.thinking_budget.value_or(0) < 0) {
    reader.fail(bad_value(reader.full_name(name), fmt::format("'{}' must be at least 0 tokens; got {}",
                                                              reader.full_name(name), *chat.thinking_budget)));
  }
}

void set_thinking(bool thinks, ChatFields& chat) {
  set_template_argument("enable_thinking", thinks, chat);
}

void take_chat_fields(Json& object, FieldReader& reader, const RequestLimits& limits, ChatFields& chat) {
  take_messages(object, reader, limits, chat);
  take_tools(object, reader, limits, chat);
  take_template_options(object, reader, limits, chat);
  read_reasoning_effort("reasoning_effort", reader, chat);
  read_thinking_budget("thinking_budget", reader, chat);
  read_thinking_budget("thinking_token_budget", reader, chat);  // vLLM's name
}

}  // namespace coppice::openai
