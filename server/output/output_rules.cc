// Marks looked up once, prompts looked at from their end.
#include "server/output/output_rules.h"

#include <algorithm>
#include <span>

namespace coppice::server {
namespace {

constexpr Terminal kTerminals[] = {Terminal::kCall,      Terminal::kFunction, Terminal::kClose,   Terminal::kCallId,
                                   Terminal::kArguments, Terminal::kThink,    Terminal::kEndThink};

// Tokens at a prompt's end that may be white space or spell a mark: a mark has at most 10 characters.
constexpr std::size_t kTailTokens = 24;

}  // namespace

OutputRules::OutputRules() : tools_(find_tool_format("none")), reasoning_(find_reasoning_format("none")) {}

OutputRules::OutputRules(const ToolFormat& tools, const ReasoningFormat& reasoning, const text::Tokenizer& tokenizer)
    : tools_(&tools), reasoning_(&reasoning) {
  for (const Terminal terminal : kTerminals) {
    const std::string_view text = text_of(terminal);
    if (text.size() < 2) {  // a bracket is no mark of its own
      continue;
    }
    if (const std::optional<TokenId> token = tokenizer.token_to_id(text); token && tokenizer.is_special(*token)) {
      marks_.push_back({*token, terminal});
    }
  }
}

std::optional<TokenId> OutputRules::token_of(Terminal terminal) const {
  const auto found = std::find_if(marks_.begin(), marks_.end(),
                                  [terminal](const MarkToken& mark) { return mark.terminal == terminal; });
  return found == marks_.end() ? std::nullopt : std::optional(found->token);
}

std::string_view OutputRules::text_of(Terminal terminal) const {
  switch (terminal) {
    case Terminal::kCall:
      return tools_->opener;
    case Terminal::kFunction:
      return tools_->opens_with_function ? kFunctionMark : "";
    case Terminal::kClose:
      return tools_->closer;
    case Terminal::kCallId:
      return tools_->shape == CallShape::kNamed ? kCallIdMark : "";
    case Terminal::kArguments:
      return tools_->shape == CallShape::kNamed ? kArgumentsMark : "";
    case Terminal::kThink:
      return reasoning_->open;
    case Terminal::kEndThink:
      return reasoning_->close;
  }
  return "";
}

ReasoningStart reasoning_start(const std::vector<TokenId>& prompt, const ReasoningFormat& format,
                               const text::Tokenizer& tokenizer) {
  if (format.is_none()) {
    return ReasoningStart::kOver;
  }
  const std::size_t count = std::min(prompt.size(), kTailTokens);
  std::string tail = tokenizer.decode(std::span(prompt).last(count), /*skip_special=*/false);
  tail.erase(tail.find_last_not_of(" \t\r\n") + 1);
  if (tail.ends_with(format.open)) {
    return ReasoningStart::kOpen;
  }
  return tail.ends_with(format.close) ? ReasoningStart::kOver : ReasoningStart::kUnsaid;
}

ReasoningStart reasoning_start(std::string_view message, const ReasoningFormat& format) {
  if (format.is_none()) {
    return ReasoningStart::kOver;
  }
  const std::size_t open = message.rfind(format.open);
  const std::size_t close = message.rfind(format.close);
  if (open == std::string_view::npos && close == std::string_view::npos) {
    return ReasoningStart::kUnsaid;
  }
  const bool is_open = close == std::string_view::npos || (open != std::string_view::npos && open > close);
  return is_open ? ReasoningStart::kOpen : ReasoningStart::kOver;
}

}  // namespace coppice::server
