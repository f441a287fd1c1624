// POST /v1/decisions, OpenAI's shape: questions about one input, answered with probabilities.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "proto/openai/answer.h"
#include "proto/openai/request.h"
#include "proto/openai/schema.h"

namespace coppice::openai {

enum class QuestionKind : std::uint8_t {
  kPredicate,  // how likely a statement is true: options "false" and "true"
  kChoice,     // which of some values
  kScore,      // which of some ordered levels
};

// One thing that may be the answer to a question.
struct DecisionOption {
  std::string text;                       // as the model reads it
  std::string description;                // "": none
  std::variant<std::string, bool> value;  // kChoice: as the client wrote it
};

struct DecisionQuestion {
  QuestionKind kind = QuestionKind::kPredicate;
  std::optional<std::string> name;
  std::string instructions;
  std::vector<DecisionOption> options;
};

// A value.
struct DecisionRequest {
  std::string model;
  std::vector<DecisionQuestion> questions;
  // The input as a conversation that ends with a user's message: each question is to be put at the end of that.
  ChatFields chat;
  IgnoredFields ignored;  // for the answer's header
};

// What a body may hold, and what the answer holds. Fields that the API does not have are refused.
Schema decision_schema(const RequestLimits& limits);
Schema decision_answer_schema();

// Checks the body against the schema, and what no schema says: that choices differ, that outputs belong to calls, that
// texts are not too large. ERRORS: 400, 413.
Result<DecisionRequest> parse_decision_request(std::string_view body, const RequestLimits& limits);

// The answers. logprobs[i][k]: of the label of question i's option k as the next token. The probability of an option is
// the softmax over the labels; confidence is the best one's times what all labels have together of the vocabulary.
std::string write_decision(const std::string& model, std::span<const DecisionQuestion> questions,
                           std::span<const std::vector<float>> logprobs, const AnswerUsage& usage);

}  // namespace coppice::openai
