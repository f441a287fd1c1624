// Logprobs in the three shapes clients know: OpenAI's legacy completions (parallel arrays), OpenAI's chat (objects with
// bytes), vLLM's prompt_logprobs (a map a token).
#pragma once

#include <span>
#include <string>

#include "proto/openai/json_writer.h"
#include "proto/openai/output_item.h"

namespace coppice::openai {

// Each writes one JSON value to `out`.
void write_completion_logprobs(std::span<const TokenEntry* const> tokens, JsonWriter& out);
void write_chat_logprobs(std::span<const TokenEntry* const> tokens, JsonWriter& out);
void write_prompt_logprobs(std::span<const TokenEntry> tokens, JsonWriter& out);

// A token as the legacy schema names it: its text, or "bytes:\xe2\x80" when it is not a whole number of characters.
std::string legacy_token_name(const std::string& bytes);

}  // namespace coppice::openai
