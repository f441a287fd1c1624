// OutputItem: what one choice of an answer consists of, whatever API it leaves by. An output parser makes the items
// from the model's text; an answer writer per API turns them into that API's messages.
//
// The items of a choice are, in order: text, reasoning and tool calls as the model wrote them, then one Finish. An
// item that continues the last one of the same kind may be joined to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/types.h"

namespace coppice::openai {

struct TopToken {
  TokenId token = 0;
  float logprob = 0;
  std::string bytes;
};

// One token with its logprobs. `bytes` are the token's own, possibly a part of a character.
struct TokenEntry {
  TokenId token = 0;
  std::optional<float> logprob;  // none: the prompt's first token
  std::string bytes;
  std::int64_t text_offset = 0;  // characters of the choice's raw text (echo included) before this token
  std::vector<TopToken> top;     // most likely first
};

// In every item, `text` is valid UTF-8 and `tokens` are the entries of the tokens whose text made the item; they are
// filled only when logprobs were asked for.

struct TextDelta {
  std::string text;
  std::vector<TokenEntry> tokens = {};
};

// What the model thinks before it answers.
struct ReasoningDelta {
  std::string text;
  std::vector<TokenEntry> tokens = {};
};

struct ToolCallBegin {
  std::int32_t call = 0;  // number of the call in its choice, from 0
  std::string id;         // unique in the answer
  std::string name;       // of the function
  std::vector<TokenEntry> tokens = {};
};

// The next piece of a call's arguments; the pieces together are JSON text. REQUIRES: a ToolCallBegin of `call` before.
struct ToolArgumentsDelta {
  std::int32_t call = 0;
  std::string text;
  std::vector<TokenEntry> tokens = {};
};

enum class FinishReason : std::uint8_t { kStop, kLength, kToolCalls };

// What stopped a choice, when a stop string or a stop token of the request did.
using StopCause = std::variant<std::monostate, std::string, TokenId>;

// The last item of a choice.
struct Finish {
  FinishReason reason = FinishReason::kStop;
  StopCause cause = {};
  std::optional<TokenId> end_token = std::nullopt;  // the token that ended the choice: it was drawn but has no text
};

using OutputItem = std::variant<TextDelta, ReasoningDelta, ToolCallBegin, ToolArgumentsDelta, Finish>;

// Adds `item` at the end. Joins it to the last item when both are text, reasoning or arguments of the same call; adds
// nothing when such an item has neither text nor tokens.
void append_item(std::vector<OutputItem>& items, OutputItem item);

}  // namespace coppice::openai
