// Writers of OpenAI's response objects: text_completion, chat.completion, their stream chunks, the model list and the
// tokenizer routes. Field order and nulls follow OpenAI's own answers; vLLM's additions come last.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/openai/answer.h"
#include "proto/openai/request.h"

namespace coppice::openai {

// What every object of one answer repeats.
struct AnswerHead {
  std::string id;              // "cmpl-..." or "chatcmpl-..."
  std::int64_t created_s = 0;  // Unix time
  std::string model;
  RequestKind kind = RequestKind::kCompletion;
  bool logprobs = false;       // asked for
  bool include_usage = false;  // stream: "usage": null in every chunk and a last chunk that has it
  bool return_token_ids = false;
};

// One JSON object.
std::string write_answer(const AnswerHead& head, const Answer& answer);

// SSE events ("data: {...}\n\n"), appended to `out`.
void append_role_chunk(const AnswerHead& head, std::int32_t index, std::string& out);  // chat: a choice's first event
void append_delta_chunk(const AnswerHead& head, const ChoiceDelta& delta, std::string& out);
void append_usage_chunk(const AnswerHead& head, const AnswerUsage& usage, std::string& out);
void append_error_event(const ApiError& error, std::string& out);
inline constexpr std::string_view kDoneEvent = "data: [DONE]\n\n";

struct ModelCard {
  std::string id;
  std::int64_t created_s = 0;
  std::int64_t model_tokens_max = 0;
};
std::string write_model(const ModelCard& card);
std::string write_model_list(std::span<const ModelCard> cards);

// {"count","max_model_len","tokens","token_strs"}, as vLLM.
std::string write_tokenize(std::span<const TokenId> tokens, std::int64_t model_tokens_max,
                           const std::vector<std::string>* token_strs);
// {"prompt"}
std::string write_detokenize(std::string_view text);

}  // namespace coppice::openai
