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
  // The first event of a choice names its role, and the last one says why it ends; neither has text. Each of those
  // between has one item: clients that stop reading at finish_reason, or look at one call in an event, miss nothing.
  void append_delta(const ChoiceDelta& delta, std::string& out) override;
  void append_end(const Answer& answer, std::string& out) override;
  void append_error(const ApiError& error, std::string& out) override;

 private:
  void append_role(const ChoiceDelta& delta, std::string& out) const;
  void append_chunk(const ChoiceDelta& delta, const OutputItem* item, bool has_token_ids, std::string& out) const;

  const AnswerHead head_;
  std::vector<bool> has_role_;  // streamed: choices whose first event is out
};

}  // namespace coppice::openai
