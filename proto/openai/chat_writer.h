// The writer of /v1/chat/completions. Field order and nulls follow OpenAI's own answers; vLLM's additions come last.
#pragma once

#include <string>
#include <vector>

#include "proto/openai/answer_writer.h"
#include "proto/openai/write_parts.h"

namespace coppice::openai {

class ChatWriter final : public AnswerWriter {
 public:
  explicit ChatWriter(AnswerHead head) : head_(std::move(head)) {}

  std::string whole(const Answer& answer) const override;
  // The first event of a choice names its role and has no text.
  void append_delta(const ChoiceDelta& delta, std::string& out) override;
  void append_end(const AnswerUsage& usage, std::string& out) override;
  void append_error(const ApiError& error, std::string& out) override;

 private:
  void append_role(std::int32_t index, std::string& out) const;

  const AnswerHead head_;
  std::vector<bool> has_role_;  // streamed: choices whose first event is out
};

}  // namespace coppice::openai
