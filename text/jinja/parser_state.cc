// Token handling and bookkeeping of the parser.
#include "text/jinja/parser_state.h"

#include <fmt/format.h>

namespace coppice::jinja {
namespace {

bool is_word(const Token& token, std::string_view text) {
  return (token.kind == TokenKind::kOperator || token.kind == TokenKind::kName) && token.text == text;
}

std::string described(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kText:
      return "text";
    case TokenKind::kOutputBegin:
    case TokenKind::kTagBegin:
      return "the start of a tag";
    case TokenKind::kOutputEnd:
    case TokenKind::kTagEnd:
      return "the end of the tag";
    default:
      return fmt::format("'{}'", token.text);
  }
}

}  // namespace

ParserState::ParserState(std::vector<Token> tokens, Program* program, const Limits& limits)
    : tokens_(std::move(tokens)), program_(program), limits_(limits) {
  symbol("loop");    // kLoopSymbol
  symbol("caller");  // kCallerSymbol
}

void ParserState::fail(absl::Status status) {
  status_.Update(std::move(status));
  position_ = tokens_.size() - 1;
}

void ParserState::fail_unexpected(std::string_view expected) {
  fail(line(), fmt::format("{} expected, found {}", expected, described(current())));
}

bool ParserState::at(std::string_view text, std::string_view next) const {
  return is_word(current(), text) && (next.empty() || is_word(tokens_[position_ + 1], next));
}

bool ParserState::at_name_before(std::string_view next) const {
  return at(TokenKind::kName) && at(current().text, next);
}

bool ParserState::skip(std::string_view text) {
  const bool found = at(text);
  position_ += found ? 1 : 0;
  return found;
}

void ParserState::expect(std::string_view text) {
  if (!skip(text)) {
    fail_unexpected(fmt::format("'{}'", text));
  }
}

Token ParserState::expect(TokenKind kind, std::string_view what) {
  if (!at(kind)) {
    fail_unexpected(what);
  }
  return take();
}

SymbolId ParserState::symbol(const std::string& name) {
  const auto [entry, added] = symbol_ids_.try_emplace(name, static_cast<SymbolId>(program_->symbols.size()));
  if (added) {
    program_->symbols.push_back(make_program_string(name));
  }
  return entry->second;
}

ParserState::Level::Level(ParserState* state) : state_(state) {
  if (++state_->depth_ > state_->limits_.parse_depth_max) {
    state_->fail(absl::ResourceExhaustedError(fmt::format("chat template line {}: nested deeper than {} levels",
                                                          state_->line(), state_->limits_.parse_depth_max)));
  }
}

}  // namespace coppice::jinja
