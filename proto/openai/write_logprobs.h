// Logprobs in the three shapes clients know: OpenAI's legacy completions (parallel arrays), OpenAI's chat (objects with
// bytes), vLLM's prompt_logprobs (a map a token).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "proto/openai/json_writer.h"
#include "proto/openai/output_item.h"

namespace coppice::openai {

// How logprobs name tokens: by their text, or, as vLLM's return_tokens_as_token_ids, as "token_id:7".
enum class TokenNames : std::uint8_t { kText, kIds };

// Each writes one JSON value to `out`. Where names are keys, each stands once: of tokens with the same text the
// likeliest one's.
void write_completion_logprobs(std::span<const TokenEntry* const> tokens, TokenNames names, JsonWriter& out);
void write_chat_logprobs(std::span<const TokenEntry* const> tokens, TokenNames names, JsonWriter& out);
// One token of chat logprobs, with the likeliest ones beside it.
void write_chat_entry(const TokenEntry& entry, TokenNames names, JsonWriter& out);
void write_prompt_logprobs(std::span<const TokenEntry> tokens, JsonWriter& out);

// A token as the legacy schema names it: its text, or "bytes:\xe2\x80" when it is not a whole number of characters.
std::string legacy_token_name(const std::string& bytes);

}  // namespace coppice::openai
