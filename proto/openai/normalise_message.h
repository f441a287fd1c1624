// One message of a conversation, brought from what clients send into the form that all chat templates are written for:
// optional keys that say nothing are absent, reasoning has every name it is known by. What differs from template to
// template is left to the prompter.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "proto/openai/cache_control.h"
#include "proto/openai/json_reader.h"

namespace coppice::openai {

// `index` is the message's number, for errors. Afterwards `content` is a string, or null for an assistant's without
// text. `marks` gets a breakpoint for each part with one. ERRORS: in `reader`, naming "messages[index].key".
void normalise_message(Json& message, std::size_t index, const RequestLimits& limits, FieldReader& reader,
                       CacheBreakpoints& marks);

// What the `arguments` of a tool call say: OpenAI sends them as a string of JSON, templates want the object. Nothing
// (null, "") is an object without members. What a model wrote that is no object stays as near to it as can be: another
// JSON value, or its text.
Json tool_arguments(const Json& sent, const RequestLimits& limits);

// A tool: optional keys of its function that are null are absent. `index` is the tool's number. ERRORS: in `reader`.
void normalise_tool(Json& tool, std::size_t index, FieldReader& reader);

// Text of a `content` that is a string or an array of text parts; parts are joined by line ends, as vLLM does.
// `name` is the field's, for messages. `breakpoints` gets the bytes of text up to the end of each part that has a
// `prompt_cache_breakpoint`; null: such are not looked for. Nothing after a failure.
std::optional<std::string> read_content(const Json& content, const std::string& name, FieldReader& reader,
                                        std::vector<std::size_t>* breakpoints = nullptr);

}  // namespace coppice::openai
