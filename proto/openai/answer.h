// Answer: what a session has to say, independent of the door it leaves by. The session fills these; the writers turn
// them into OpenAI's JSON, the gRPC door into protobuf.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/types.h"

namespace coppice::openai {

enum class Finish : std::uint8_t { kNone, kStop, kLength, kToolCalls };

// "stop", "length", "tool_calls"; "" for kNone.
const char* finish_name(Finish finish);

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
  std::int64_t text_offset = 0;  // characters of the choice's text (echo included) before this token
  std::vector<TopToken> top;     // most likely first
};

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON text
};

// News of one choice: in a stream, what is new; else everything.
struct ChoiceDelta {
  std::int32_t index = 0;          // prompt number × n + choice number
  std::string text;                // valid UTF-8
  std::vector<TokenEntry> tokens;  // filled when logprobs were asked for; covers `text`
  std::vector<TokenId> token_ids;  // generated tokens, the end token included; filled when asked for
  std::vector<ToolCall> tool_calls;
  Finish finish = Finish::kNone;  // not kNone: the choice's last delta
  // What stopped it, when a stop string or a stop token of the request did (vLLM's stop_reason).
  std::variant<std::monostate, std::string, TokenId> stop_reason;
};

struct AnswerUsage {
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t accepted_prediction_tokens = 0;
  std::int64_t rejected_prediction_tokens = 0;
};

// A prompt scored by prompt_logprobs; the first entry has no logprob.
using PromptScores = std::vector<TokenEntry>;

// A whole answer, not streamed.
struct Answer {
  std::vector<ChoiceDelta> choices;         // ascending index
  std::vector<PromptScores> prompt_scores;  // one a prompt when asked for, else empty
  std::int64_t choices_per_prompt = 1;
  AnswerUsage usage;
};

}  // namespace coppice::openai
