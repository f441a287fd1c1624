// The writer of /v1/messages: one message, or the events that make it up.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proto/openai/answer_writer.h"

namespace coppice::anthropic {

struct MessageHead {
  std::string id;  // "msg_..."
  std::string model;
  std::string request_id;
  std::int64_t max_tokens = 0;  // as asked for
};

// Of answers with one choice.
class MessagesWriter final : public openai::AnswerWriter {
 public:
  explicit MessagesWriter(MessageHead head) : head_(std::move(head)) {}

  std::string whole(const openai::Answer& answer) const override;
  void append_begin(const openai::AnswerUsage& known, std::string& out) override;
  void append_delta(const openai::ChoiceDelta& delta, std::string& out) override;
  void append_end(const openai::Answer& answer, std::string& out) override;
  void append_error(const openai::ApiError& error, std::string& out) override;
  void append_ping(std::string& out) override;

 private:
  enum class Block : std::uint8_t { kNone, kText, kThinking, kToolUse };

  void take(const openai::TextDelta& piece, std::string& out);
  void take(const openai::ReasoningDelta& piece, std::string& out);
  void take(const openai::ToolCallBegin& piece, std::string& out);
  void take(const openai::ToolArgumentsDelta& piece, std::string& out);
  void take(const openai::Finish& piece, std::string& out);

  void begin_block(Block kind, const openai::ToolCallBegin* call, std::string& out);
  void append_piece(std::string_view type, std::string_view member, std::string_view text, std::string& out) const;
  void end_block(std::string& out);

  const MessageHead head_;
  Block block_ = Block::kNone;  // the one that is open
  std::int64_t index_ = -1;     // of the last block
  bool has_calls_ = false;
  openai::Finish finish_;
  bool has_begun_ = false;
};

}  // namespace coppice::anthropic
