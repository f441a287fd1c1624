// Turns: an assistant's reasoning, text and calls that follow each other are one message.
#include "proto/openai/conversation.h"

#include <utility>

namespace coppice::openai {
namespace {

constexpr const char* kParagraph = "\n\n";  // between instructions and the system message that joins them

Json make_message(std::string_view role) {
  Json message = Json::object();
  message["role"] = role;
  return message;
}

bool is_for_system(std::string_view role) {
  return role == "system" || role == "developer";
}

}  // namespace

// A turn that has spoken or called goes on with neither text nor reasoning: those begin the next one.
void Conversation::close_turn_with_text() {
  if (is_open_ && (!messages_.back()["content"].is_null() || messages_.back().contains("tool_calls"))) {
    is_open_ = false;
  }
}

Json& Conversation::open_turn() {
  if (!is_open_) {
    Json message = make_message("assistant");
    message["content"] = nullptr;
    messages_.push_back(std::move(message));
    is_open_ = true;
  }
  return messages_.back();
}

void Conversation::add_instructions(std::string text) {
  add_message("system", std::move(text));
  has_instructions_ = true;
}

void Conversation::add_message(std::string_view role, std::string text) {
  if (role == "assistant") {
    close_turn_with_text();
    open_turn()["content"] = std::move(text);
    return;
  }
  is_open_ = false;
  if (has_instructions_ && messages_.size() == 1 && is_for_system(role)) {
    messages_.back()["content"].get_ref<std::string&>() += kParagraph + text;
    return;
  }
  Json message = make_message(role);
  message["content"] = std::move(text);
  messages_.push_back(std::move(message));
}

void Conversation::add_reasoning(std::string text) {
  close_turn_with_text();
  Json& message = open_turn();
  const auto earlier = message.find("reasoning_content");
  if (earlier == message.end()) {
    message["reasoning_content"] = std::move(text);
  } else {
    earlier->get_ref<std::string&>() += "\n" + text;
  }
}

void Conversation::add_call(std::string id, std::string name, Json arguments) {
  Json function = Json::object();
  function["name"] = std::move(name);
  function["arguments"] = std::move(arguments);
  Json call = Json::object();
  call["id"] = std::move(id);
  call["type"] = "function";
  call["function"] = std::move(function);
  Json& message = open_turn();
  if (!message.contains("tool_calls")) {
    message["tool_calls"] = Json::array();
  }
  message["tool_calls"].push_back(std::move(call));
}

void Conversation::add_result(std::string call_id, std::string text) {
  is_open_ = false;
  Json message = make_message("tool");
  message["tool_call_id"] = std::move(call_id);
  message["content"] = std::move(text);
  messages_.push_back(std::move(message));
}

void Conversation::join_message(std::string_view role, std::string text) {
  if (last_role() != role) {
    add_message(role, std::move(text));
    return;
  }
  Json& content = messages_.back()["content"];
  if (content.is_null()) {
    content = std::move(text);
  } else {
    content.get_ref<std::string&>() += "\n" + text;
  }
}

std::string_view Conversation::last_role() const {
  return messages_.empty() ? std::string_view() : messages_.back()["role"].get_ref<const std::string&>();
}

std::size_t Conversation::last_bytes() const {
  if (messages_.empty() || !messages_.back()["content"].is_string()) {
    return 0;
  }
  return messages_.back()["content"].get_ref<const std::string&>().size();
}

}  // namespace coppice::openai
