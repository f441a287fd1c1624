// The rows.
#include "server/output/output_format.h"

#include <algorithm>

namespace coppice::server {
namespace {

constexpr ToolFormat kToolFormats[] = {
    {.name = "qwen3_coder",  // Qwen3-Coder and later Qwen models
     .shape = CallShape::kXml,
     .opener = "<tool_call>",
     .opens_with_function = true,
     .closer = "</tool_call>",
     .before_call = "\n",
     .after_call = "\n",
     .between = "\n",
     .ends_reasoning = true,
     .template_marks = {"<function=", "<parameter="}},
    {.name = "hermes",  // Hermes, Qwen 2.5, Qwen 3
     .shape = CallShape::kJson,
     .opener = "<tool_call>",
     .closer = "</tool_call>",
     .arguments_key = "arguments",
     .before_call = "\n",
     .after_call = "\n",
     .between = "\n",
     .template_marks = {"<tool_call>"}},
    {.name = "mistral",  // Mistral's tokenizer version 11 and later
     .shape = CallShape::kNamed,
     .opener = "[TOOL_CALLS]",
     .has_short_ids = true,
     .template_marks = {"[TOOL_CALLS]", "[ARGS]"},
     .token_marks = {"[TOOL_CALLS]", "[ARGS]"}},
    {.name = "mistral_v3",  // before version 11
     .shape = CallShape::kJson,
     .opener = "[TOOL_CALLS]",
     .list_open = '[',
     .joiner = ',',
     .closer = "]",
     .arguments_key = "arguments",
     .between = " ",
     .has_short_ids = true,
     .template_marks = {"[TOOL_CALLS]"},
     .token_marks = {"[TOOL_CALLS]"}},
    {.name = "llama3_json",  // Llama 3.1 to 3.3
     .shape = CallShape::kJson,
     .opener = "<|python_tag|>",
     .start = '{',
     .joiner = ';',
     .arguments_key = "parameters",
     .between = " ",
     .template_marks = {"\"parameters\": ", "ipython"}},
    {.name = "pythonic",  // Llama 3.2 and 4 with other templates, ToolACE
     .shape = CallShape::kPython,
     .opener = "<|python_start|>",
     .start = '[',
     .list_open = '[',
     .joiner = ',',
     .closer = "]",
     .between = " ",
     .template_marks = {"[func_name1("}},
    {.name = "none"},
};

constexpr ReasoningFormat kReasoningFormats[] = {
    {.name = "qwen3",
     .open = "<think>",
     .close = "</think>",
     .template_marks = {"<think>\n\n</think>"}},  // the block that turns thinking off
    {.name = "deepseek_r1", .open = "<think>", .close = "</think>", .template_marks = {"<think>"}},
    {.name = "mistral",
     .open = "[THINK]",
     .close = "[/THINK]",
     .template_marks = {"[THINK]"},
     .token_marks = {"[THINK]", "[/THINK]"}},
    {.name = "none"},
};

template <typename Format>
const Format* find(std::span<const Format> formats, std::string_view name) {
  const auto found =
      std::find_if(formats.begin(), formats.end(), [name](const Format& row) { return row.name == name; });
  return found == formats.end() ? nullptr : &*found;
}

}  // namespace

std::span<const ToolFormat> tool_formats() {
  return kToolFormats;
}

std::span<const ReasoningFormat> reasoning_formats() {
  return kReasoningFormats;
}

const ToolFormat* find_tool_format(std::string_view name) {
  return find(tool_formats(), name);
}

const ReasoningFormat* find_reasoning_format(std::string_view name) {
  return find(reasoning_formats(), name);
}

}  // namespace coppice::server
