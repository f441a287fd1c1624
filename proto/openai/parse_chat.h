// Reads the fields that make a conversation (messages, tools, template options) out of a JSON object; used for HTTP
// bodies and, by the gRPC door, for messages it has turned into the same JSON.
#pragma once

#include <optional>
#include <string>

#include "proto/openai/json_reader.h"

namespace coppice::openai {

// messages, tools, tool_choice, add_generation_prompt, continue_final_message, chat_template_kwargs. ERRORS: in
// `reader`.
void read_chat_fields(FieldReader& reader, const RequestLimits& limits, ChatFields& chat);

// Text of a `content` that is a string or an array of text parts; parts are joined by line ends, as vLLM does.
// `name` is the field's, for messages. Nothing after a failure.
std::optional<std::string> read_content(const Json& content, const std::string& name, FieldReader& reader);

}  // namespace coppice::openai
