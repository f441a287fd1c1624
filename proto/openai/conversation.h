// Conversation: brings the conversations of other APIs, whose pieces are items and blocks, into the messages of
// /v1/chat/completions. The same conversation is the same prompt, whatever API it comes by.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "proto/openai/request.h"

namespace coppice::openai {

// Owner and thread: a local variable.
class Conversation {
 public:
  // What a field beside the conversation says to the system. A system or developer message that stands first joins it.
  // REQUIRES: before all others.
  void add_instructions(std::string text);
  // A message of its own; but an assistant's text joins the reasoning that came just before it.
  void add_message(std::string_view role, std::string text);
  // What the assistant thought before what follows.
  void add_reasoning(std::string text);
  // A tool call; it joins the assistant's message just before it. `arguments`: an object, or its JSON text.
  void add_call(std::string id, std::string name, Json arguments);
  void add_result(std::string call_id, std::string text);
  // More text of the last message, on a line of its own, when it has the same role; else a message of its own.
  void join_message(std::string_view role, std::string text);

  std::size_t size() const { return messages_.size(); }
  // Of the last message; "" when there is none.
  std::string_view last_role() const;
  // Bytes of the last message's text.
  std::size_t last_bytes() const;
  Json take() { return std::move(messages_); }

 private:
  Json& open_turn();
  void close_turn_with_text();

  Json messages_ = Json::array();
  bool is_open_ = false;  // the last message is an assistant's turn that goes on
  bool has_instructions_ = false;
};

}  // namespace coppice::openai
