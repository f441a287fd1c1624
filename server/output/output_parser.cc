// The parser of plain text, and the choice of a parser.
#include "server/output/output_parser.h"

#include <utility>

#include "server/output/format_parser.h"

namespace coppice::server {
namespace {

// Everything is text.
class PlainTextParser final : public OutputParser {
 public:
  void push(openai::TextDelta text, std::vector<openai::OutputItem>& items) override {
    append_item(items, std::move(text));
  }

  void end(openai::TextDelta rest, openai::Finish finish, std::vector<openai::OutputItem>& items) override {
    append_item(items, std::move(rest));
    items.emplace_back(std::move(finish));
  }
};

}  // namespace

std::unique_ptr<OutputParser> make_output_parser(const openai::GenerationRequest& request, const ParserSetup& setup) {
  if (setup.rules == nullptr || request.kind != openai::RequestKind::kChat) {
    return std::make_unique<PlainTextParser>();
  }
  const bool calls = setup.tools != nullptr && !setup.rules->tools().is_none();
  const bool thinks = !setup.rules->reasoning().is_none() && setup.start != ReasoningStart::kOver;
  if (!calls && !thinks) {
    return std::make_unique<PlainTextParser>();
  }
  return std::make_unique<FormatParser>(request, setup);
}

}  // namespace coppice::server
