// The fields of POST /v1/messages that are its own: one table for the parser and docs/api.md.
#pragma once

#include "proto/openai/api_fields.h"

namespace coppice::anthropic {

inline constexpr openai::ApiField kMessageFields[] = {
    {"messages", openai::FieldUse::kHonoured, "array of messages",
     "Text, tool use and results, thinking; what a last assistant message says is continued."},
    {"system", openai::FieldUse::kHonoured, "text or text blocks",
     "The system message. A line `x-anthropic-billing-header: …` at the start of a block is dropped."},
    {"max_tokens", openai::FieldUse::kHonoured, "integer, required",
     "Most tokens to generate; more than the context holds are cut to it. 0 only fills the prefix cache."},
    {"stop_sequences", openai::FieldUse::kHonoured, "array of strings", "Ends the answer before this text."},
    {"stream", openai::FieldUse::kHonoured, "true or false", "Sends events as the answer is made."},
    {"tools", openai::FieldUse::kHonoured, "array of tools",
     "Tools with an `input_schema`; those that Anthropic's servers run or define are skipped."},
    {"tool_choice", openai::FieldUse::kHonoured, "type \"auto\", \"any\", \"tool\" or \"none\"",
     "Whether the model may or must call tools; with `disable_parallel_tool_use` one at most."},
    {"thinking", openai::FieldUse::kHonoured, "object",
     "Goes to the chat template as `enable_thinking`; after `budget_tokens` the end of thinking is forced."},
    {"output_config", openai::FieldUse::kHonoured, "object",
     "`effort` goes to the chat template as `reasoning_effort`; `format`: what the output has to match, as under "
     "Structured output, always strict."},
    {"cache_control", openai::FieldUse::kHonoured, "object",
     "Keeps the prefix up to the end; on blocks and tools: up to there. At most 4, `ttl` \"5m\" or \"1h\"."},
    {"metadata", openai::FieldUse::kHonoured, "object", "`user_id`: who asks."},
    {"service_tier", openai::FieldUse::kIgnored, "text", "", "\"auto\""},
    {"speed", openai::FieldUse::kIgnored, "text", "", "\"standard\""},
    {"inference_geo", openai::FieldUse::kIgnored, "text", ""},
    {"diagnostics", openai::FieldUse::kIgnored, "object", ""},
    {"context_management", openai::FieldUse::kIgnored, "object", ""},
    {"user_profile_id", openai::FieldUse::kIgnored, "text", ""},
    {"workspace_id", openai::FieldUse::kIgnored, "text", ""},
    {"container", openai::FieldUse::kRefused, "text or object", "There are none."},
    {"mcp_servers", openai::FieldUse::kRefused, "array", "The server calls no tools."},
    {"output_format", openai::FieldUse::kHonoured, "object", "`output_config.format` by its older name."},
};

}  // namespace coppice::anthropic
