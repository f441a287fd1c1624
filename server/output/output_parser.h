// OutputParser: finds the items in a choice's text. Which parser reads a choice depends on the request, and on the
// model once there are models that write calls or reasoning in ways of their own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/types.h"
#include "proto/openai/output_item.h"
#include "proto/openai/request.h"
#include "server/output/call_ids.h"

namespace coppice::server {

// Owner: one choice. Thread: its session's.
class OutputParser {
 public:
  virtual ~OutputParser() = default;

  // Reads the drawn token `token` and the text that became certain with it, and appends the items that are certain.
  // `text` is empty while text is held back as a possible stop string, and for special tokens that are not shown.
  // `text.text_offset`s count from the first character pushed. Text and token entries leave in the order they came.
  virtual void push(TokenId token, openai::TextDelta text, std::vector<openai::OutputItem>& items) = 0;

  // The end of the output. `rest` is text that no token is left for. Appends what was held back, then `finish`, whose
  // reason becomes kToolCalls when it was kStop and the output calls tools. REQUIRES: called once, last.
  virtual void end(openai::TextDelta rest, openai::Finish finish, std::vector<openai::OutputItem>& items) = 0;
};

// The parser of one choice, whose tool calls get their ids from `ids`.
std::unique_ptr<OutputParser> make_output_parser(const openai::GenerationRequest& request, CallIds ids);

}  // namespace coppice::server
