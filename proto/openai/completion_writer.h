// The writer of /v1/completions. Field order and nulls follow OpenAI's own answers; vLLM's additions come last.
#pragma once

#include <span>
#include <string>

#include "proto/openai/answer_writer.h"
#include "proto/openai/write_parts.h"

namespace coppice::openai {

class CompletionWriter final : public AnswerWriter {
 public:
  explicit CompletionWriter(AnswerHead head) : head_(std::move(head)) {}

  std::string whole(const Answer& answer) const override;
  // The last event of a choice says why it ends and has no text.
  void append_delta(const ChoiceDelta& delta, std::string& out) override;
  void append_end(const Answer& answer, std::string& out) override;
  void append_error(const ApiError& error, std::string& out) override;

 private:
  void write_choice(std::span<const OutputItem> items, const ChoiceDelta& choice, bool has_token_ids,
                    JsonWriter& out) const;
  void append_chunk(const ChoiceDelta& delta, std::span<const OutputItem> items, bool has_token_ids,
                    std::string& out) const;

  const AnswerHead head_;
};

}  // namespace coppice::openai
