// The fields of POST /v1/responses that are its own: one table for the parser and docs/api.md.
#pragma once

#include "proto/openai/api_fields.h"

namespace coppice::openai {

inline constexpr ApiField kResponseFields[] = {
    {"input", FieldUse::kHonoured, "text or items",
     "Messages, function calls and their outputs, reasoning; items of other kinds are skipped."},
    {"instructions", FieldUse::kHonoured, "text", "The system message of this request; not carried over to the next."},
    {"previous_response_id", FieldUse::kHonoured, "id", "Continues the conversation of a stored response."},
    {"store", FieldUse::kHonoured, "true or false", "Keeps the response for later requests. Default: true."},
    {"background", FieldUse::kHonoured, "true or false",
     "Answers at once; the response is fetched with GET. Needs `store`, excludes `stream`."},
    {"stream", FieldUse::kHonoured, "true or false", "Sends events as the answer is made."},
    {"max_output_tokens", FieldUse::kHonoured, "integer",
     "Most tokens to generate; more than the context holds are cut to it."},
    {"top_logprobs", FieldUse::kHonoured, "0 to 20", "Logprobs of the answer's tokens, as with `include`."},
    {"include", FieldUse::kHonoured, "array of names", "`message.output_text.logprobs`; other names have no effect."},
    {"tools", FieldUse::kHonoured, "array of tools", "Function tools; other kinds are skipped."},
    {"tool_choice", FieldUse::kHonoured, "\"auto\", \"none\", \"required\", a function or allowed tools",
     "Which tools the model may or must call."},
    {"text", FieldUse::kHonoured, "object", "`format`: what the output has to match, as under Structured output."},
    {"reasoning", FieldUse::kHonoured, "object",
     "`effort` goes to the chat template as `reasoning_effort`, \"none\" as `enable_thinking` false."},
    {"metadata", FieldUse::kRepeated, "object of up to 16 texts", "The client's own notes."},
    {"safety_identifier", FieldUse::kRepeated, "text", "Who asks."},
    {"prompt_cache_key", FieldUse::kRepeated, "text", "Prefixes are found without it."},
    {"prompt_cache_options", FieldUse::kHonoured, "object",
     "What the cache keeps, as under Service; `prompt_cache_breakpoint` in parts of the input, too."},
    {"prompt_cache_retention", FieldUse::kHonoured, "text", "As under Service."},
    {"parallel_tool_calls", FieldUse::kHonoured, "true or false", "false: at most one call. Default: true."},
    {"max_tool_calls", FieldUse::kIgnored, "integer", "Of tools that the server runs; there are none."},
    {"service_tier", FieldUse::kHonoured, "text", "As under Service; the response says which it was."},
    {"truncation", FieldUse::kIgnored, "text", "A conversation that does not fit is refused.", "\"disabled\""},
    {"context_management", FieldUse::kIgnored, "array", ""},
    {"moderation", FieldUse::kIgnored, "object", ""},
    {"stream_options", FieldUse::kHonoured, "object", "`include_obfuscation` has no effect."},
    {"conversation", FieldUse::kRefused, "id", "Use `previous_response_id`."},
    {"prompt", FieldUse::kRefused, "object", "There are no stored prompts."},
    {"response_format", FieldUse::kRefused, "object", "Its name here is `text`."},
};

}  // namespace coppice::openai
