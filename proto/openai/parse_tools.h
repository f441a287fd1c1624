// What a request says of tools: which there are, which the answer may, must or must not call.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proto/openai/json_reader.h"

namespace coppice::openai {

// `tool_choice`, whatever API it came by.
struct ToolChoiceFields {
  ToolChoice choice = ToolChoice::kAuto;
  std::string name;                                 // kNamed
  std::optional<std::vector<std::string>> allowed;  // names; none: all
};

// Of the chat API and of responses: "auto", "none", "required", a function, allowed tools; null: absent. ERRORS: in
// `reader`.
ToolChoiceFields read_tool_choice(const Json* choice, FieldReader& reader);

// Sets the tools that the model is shown, `tools` as the chat API has them, and the choice. ERRORS: in `reader`, where
// a tool's name is none or another's too, and where a call is demanded of a tool that is not there.
void set_tools(Json tools, ToolChoiceFields choice, FieldReader& reader, ChatFields& chat);

// tools, tool_choice, parallel_tool_calls; functions and function_call, by which they were called before. Moves the
// tools out of `object`. REQUIRES: `reader` reads `object`. ERRORS: in `reader`.
void take_tools(Json& object, FieldReader& reader, const RequestLimits& limits, ChatFields& chat);

}  // namespace coppice::openai
