// ToolCallParser: finds tool calls in the two spellings most open models use: Hermes and Qwen
// ("<tool_call>{...}</tool_call>") and Llama 3 (the whole answer is one {"name", "parameters"} object).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/output/output_parser.h"

namespace coppice::server {

// Holds back, with its token entries, all text that may be a call. At the end it becomes calls, or text again when it
// is not well-formed: then nothing of the answer is lost.
class ToolCallParser final : public OutputParser {
 public:
  explicit ToolCallParser(CallIds ids) : ids_(ids) {}

  void push(TokenId token, openai::TextDelta text, std::vector<openai::OutputItem>& items) override;
  void end(openai::TextDelta rest, openai::Finish finish, std::vector<openai::OutputItem>& items) override;

 private:
  enum class State : std::uint8_t {
    kStart,  // only white space came
    kText,
    kCall,  // all that comes now is part of calls, if it is well-formed
  };

  void hold(openai::TextDelta text);
  std::size_t certain_bytes();
  openai::TextDelta take_held(std::size_t bytes);

  const CallIds ids_;
  openai::TextDelta held_;
  std::int64_t characters_taken_ = 0;  // of the text before held_
  std::size_t blank_bytes_ = 0;        // of held_ that are known to be white space, while nothing else came
  State state_ = State::kStart;
};

}  // namespace coppice::server
