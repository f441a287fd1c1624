// The fields that make a conversation (messages, tools, template options), checked and brought into the form that chat
// templates are written for. HTTP bodies have them as JSON; the gRPC front end builds the same object.
#pragma once

#include <optional>
#include <string>

#include "proto/openai/json_reader.h"

namespace coppice::openai {

// messages, tools, tool_choice, add_generation_prompt, continue_final_message, chat_template_kwargs. Moves the large
// values out of `object`. REQUIRES: `reader` reads `object`, which may be of any type. ERRORS: in `reader`.
void take_chat_fields(Json& object, FieldReader& reader, const RequestLimits& limits, ChatFields& chat);

// Text of a `content` that is a string or an array of text parts; parts are joined by line ends, as vLLM does.
// `name` is the field's, for messages. Nothing after a failure.
std::optional<std::string> read_content(const Json& content, const std::string& name, FieldReader& reader);

}  // namespace coppice::openai
