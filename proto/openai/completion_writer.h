// The writer of /v1/completions. Field order and nulls follow OpenAI's own answers; vLLM's additions come last.
#pragma once

#include <string>

#include "proto/openai/answer_writer.h"
#include "proto/openai/write_parts.h"

namespace coppice::openai {

class CompletionWriter final : public AnswerWriter {
 public:
  explicit CompletionWriter(AnswerHead head) : head_(std::move(head)) {}

  std::string whole(const Answer& answer) const override;
  void append_delta(const ChoiceDelta& delta, std::string& out) override;
  void append_end(const AnswerUsage& usage, std::string& out) override;
  void append_error(const ApiError& error, std::string& out) override;

 private:
  void write_choice(const ChoiceDelta& choice, JsonWriter& out) const;

  const AnswerHead head_;
};

}  // namespace coppice::openai
