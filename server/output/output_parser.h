// OutputParser: finds the items in a choice's text: text, reasoning, calls.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"
#include "proto/openai/output_item.h"
#include "proto/openai/request.h"
#include "server/output/call_ids.h"
#include "server/output/output_rules.h"
#include "server/output/tool_set.h"

namespace coppice::server {

// Owner: one choice. Thread: its session's.
class OutputParser {
 public:
  virtual ~OutputParser() = default;

  // The mark that `token` is, if the parser wants it as a token: push_mark() is then called at its place in the text.
  virtual std::optional<Terminal> mark_of(TokenId /*token*/) const { return std::nullopt; }

  // Reads text that has become certain, with the entries of tokens that begin in it, and appends the items that are
  // certain. `text.text_offset`s count from the first character pushed. Text and entries leave in the order they came.
  virtual void push(openai::TextDelta text, std::vector<openai::OutputItem>& items) = 0;
  virtual void push_mark(Terminal /*mark*/, std::vector<openai::OutputItem>& /*items*/) {}

  // All that was asked for has come: what the model says from here on is of no use.
  virtual bool is_complete() const { return false; }

  // The end of the output. `rest` is text that no token is left for. Appends what was held back, then `finish`, whose
  // reason becomes kToolCalls when it was kStop and the output calls tools of the model's own choice. REQUIRES: called
  // once, last.
  virtual void end(openai::TextDelta rest, openai::Finish finish, std::vector<openai::OutputItem>& items) = 0;

  // Places, in bytes of text and one for each mark, from where the output began.
  struct Reasoning {
    std::int64_t end = 0;  // what is known to be reasoning ends here; 0: there is none
    bool is_over = true;   // nothing more will be
  };
  virtual Reasoning reasoning() const { return {}; }
};

// What a grammar makes sure of about an answer's calls.
enum class CallHold : std::uint8_t {
  kNone,      // nothing
  kDemanded,  // the answer is calls alone
  kInText,    // calls in the spelling of the model's template are well-formed and match their tools; other text is free
  kInstead,   // the answer is JSON, or calls alone
};

// What the choices of one request share of their parsing.
struct ParserSetup {
  const OutputRules* rules = nullptr;  // null: all is text
  ReasoningStart start = ReasoningStart::kOver;
  std::shared_ptr<const ToolSet> tools;  // null: none may be called
  CallIds ids;
  bool is_held = false;  // a grammar holds the answer: no call comes before the end of reasoning
  CallHold hold = CallHold::kNone;
};

std::unique_ptr<OutputParser> make_output_parser(const openai::GenerationRequest& request, const ParserSetup& setup);

}  // namespace coppice::server
