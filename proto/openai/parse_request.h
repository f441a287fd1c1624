// OpenAI's JSON request bodies, with vLLM's additions, read into the structs that all front ends share. Unknown fields
// are ignored, as OpenAI-compatible servers do; known fields that this server cannot honour are refused.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proto/openai/request.h"

namespace coppice::openai {

// POST /v1/completions and /v1/chat/completions. Type-checked and validate()d. ERRORS: 400 with the field in `param`;
// 413.
Result<GenerationRequest> parse_completion_request(std::string_view body, const RequestLimits& limits);
Result<GenerationRequest> parse_chat_request(std::string_view body, const RequestLimits& limits);

// The same for JSON that parse_json() has read.
Result<GenerationRequest> read_completion_request(Json body, const RequestLimits& limits);
Result<GenerationRequest> read_chat_request(Json body, const RequestLimits& limits);

// The refusals of a prompt, for front ends without JSON. `got` describes what came: "the number -1".
ApiError missing_prompt();
ApiError wrong_prompt(const std::string& got);

// POST /tokenize, as vLLM: {"prompt"} or {"messages"}.
struct TokenizeRequest {
  std::string model;
  bool is_chat = false;
  std::string prompt;                  // when not is_chat
  const char* prompt_name = "prompt";  // the field that it came in, for messages; a literal
  ChatFields chat;                     // when is_chat
  std::optional<bool> add_special_tokens;
  bool parse_special = true;
  bool return_token_strs = false;
};
Result<TokenizeRequest> parse_tokenize_request(std::string_view body, const RequestLimits& limits);

// POST /detokenize: {"tokens"}.
struct DetokenizeRequest {
  std::string model;
  std::vector<TokenId> tokens;
  bool skip_special_tokens = false;
};
Result<DetokenizeRequest> parse_detokenize_request(std::string_view body, const RequestLimits& limits);

}  // namespace coppice::openai
