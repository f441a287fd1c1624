// ToolCallScanner: finds tool calls in generated text, in the two spellings most open models use: Hermes and Qwen
// ("<tool_call>{...}</tool_call>") and Llama 3 (the whole answer is one {"name", "parameters"} object).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proto/openai/answer.h"
#include "proto/openai/limits.h"

namespace coppice::server {

// A value, part of one choice; its session's thread. Switched off it passes everything through.
class ToolCallScanner {
 public:
  ToolCallScanner() = default;
  // `call_id_prefix` makes the ids of calls unique: "call_<request>_<choice>_".
  explicit ToolCallScanner(std::string call_id_prefix) : call_id_prefix_(std::move(call_id_prefix)), is_on_(true) {}

  // The part of `text` that is certainly not a tool call; the rest is held.
  std::string filter(std::string_view text);

  // The end: fills delta.tool_calls, or adds what was held to delta.text when it is no well-formed call after all.
  void finish(openai::ChoiceDelta& delta);

 private:
  enum class State : std::uint8_t { kStart, kText, kCall };

  std::string call_id_prefix_;
  std::string held_;
  State state_ = State::kStart;
  bool is_on_ = false;
};

}  // namespace coppice::server
