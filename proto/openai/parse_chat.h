// The fields that make a conversation (messages, tools, template options), checked and brought into the form that chat
// templates are written for. HTTP bodies have them as JSON; the gRPC front end builds the same object.
#pragma once

#include <string>
#include <vector>

#include "proto/openai/json_reader.h"

namespace coppice::openai {

// messages, what parse_tools.h reads, add_generation_prompt, continue_final_message, chat_template,
// chat_template_kwargs, reasoning_effort, thinking_budget.
// Moves the large values out of `object`. REQUIRES: `reader` reads `object`, which may be of any type. ERRORS: in
// `reader`.
void take_chat_fields(Json& object, FieldReader& reader, const RequestLimits& limits, ChatFields& chat);

// The same for conversations that came by another API and have been brought into the chat API's form. ERRORS: in
// `reader`, when they are more messages than a chat may have, too.
void set_messages(Json messages, FieldReader& reader, const RequestLimits& limits, ChatFields& chat);

// How hard the model shall think ("none" to "max"; "": unsaid), for the chat template.
void set_reasoning_effort(const std::string& effort, ChatFields& chat);
// The same from a field. ERRORS: in `reader`.
void read_reasoning_effort(const char* name, FieldReader& reader, ChatFields& chat);
// Tokens of reasoning after which its end is forced. ERRORS: in `reader`.
void read_thinking_budget(const char* name, FieldReader& reader, ChatFields& chat);
// Whether it shall think at all, for templates that can be told.
void set_thinking(bool thinks, ChatFields& chat);

}  // namespace coppice::openai
