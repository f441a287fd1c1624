// The parser of plain text, and the choice of a parser.
#include "server/output/output_parser.h"

#include <utility>

#include "server/output/tool_call_parser.h"

namespace coppice::server {
namespace {

// Everything is text.
class PlainTextParser final : public OutputParser {
 public:
  void push(TokenId /*token*/, openai::TextDelta text, std::vector<openai::OutputItem>& items) override {
    append_item(items, std::move(text));
  }

  void end(openai::TextDelta rest, openai::Finish finish, std::vector<openai::OutputItem>& items) override {
    append_item(items, std::move(rest));
    items.emplace_back(std::move(finish));
  }
};

}  // namespace

std::unique_ptr<OutputParser> make_output_parser(const openai::GenerationRequest& request, CallIds ids) {
  if (request.chat.has_tools) {
    return std::make_unique<ToolCallParser>(ids);
  }
  return std::make_unique<PlainTextParser>();
}

}  // namespace coppice::server
