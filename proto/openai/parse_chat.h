// The fields that make a conversation (messages, tools, template options), checked and brought into the form that chat
// templates are written for. HTTP bodies have them as JSON; the gRPC front end builds the same object.
#pragma once

#include "proto/openai/json_reader.h"

namespace coppice::openai {

// messages, tools, tool_choice, add_generation_prompt, continue_final_message, chat_template, chat_template_kwargs.
// Moves the large values out of `object`. REQUIRES: `reader` reads `object`, which may be of any type. ERRORS: in
// `reader`.
void take_chat_fields(Json& object, FieldReader& reader, const RequestLimits& limits, ChatFields& chat);

}  // namespace coppice::openai
