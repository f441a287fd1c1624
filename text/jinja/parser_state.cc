// Token handling and bookkeeping of the parser.
#include "text/jinja/parser_state.h"

#include <fmt/format.h>

namespace coppice::text {

ParserState::ParserState(std::vector<Token> tokens, Program* program, const TemplateLimits& limits)
    : tokens_(std::move(tokens)), program_(program), limits_(limits) {
  for (const char* name : {"loop", "caller", "varargs", "kwargs"}) {
    symbol(name);  // kLoopSymbol and its neighbours
  }
}

bool ParserState::at_operator(std::string_view text) const {
  return at(TokenKind::kOperator) && current().text == text;
}

bool ParserState::at_name(std::string_view text) const {
  return at(TokenKind::kName) && current().text == text;
}

bool ParserState::skip_operator(std::string_view text) {
  const bool found = at_operator(text);
  position_ += found ? 1 : 0;
  return found;
}

bool ParserState::skip_name(std::string_view text) {
  const bool found = at_name(text);
  position_ += found ? 1 : 0;
  return found;
}

absl::Status ParserState::expect_operator(std::string_view text) {
  return skip_operator(text) ? absl::OkStatus() : unexpected(fmt::format("'{}'", text));
}

absl::Status ParserState::expect_name(std::string_view text) {
  return skip_name(text) ? absl::OkStatus() : unexpected(fmt::format("'{}'", text));
}

absl::StatusOr<Token> ParserState::expect(TokenKind kind, std::string_view what) {
  if (!at(kind)) {
    return unexpected(what);
  }
  return take();
}

absl::Status ParserState::unexpected(std::string_view expected) const {
  std::string found;
  switch (current().kind) {
    case TokenKind::kEnd:
      found = "the end of the template";
      break;
    case TokenKind::kText:
      found = "text";
      break;
    case TokenKind::kOutputBegin:
    case TokenKind::kTagBegin:
      found = "the start of a tag";
      break;
    case TokenKind::kOutputEnd:
    case TokenKind::kTagEnd:
      found = "the end of the tag";
      break;
    default:
      found = fmt::format("'{}'", current().text);
  }
  return error_at_line(line(), fmt::format("{} expected, found {}", expected, found));
}

SymbolId ParserState::symbol(const std::string& name) {
  const auto [entry, added] = symbol_ids_.try_emplace(name, static_cast<SymbolId>(program_->symbols.size()));
  if (added) {
    program_->symbols.push_back(make_program_string(name));
  }
  return entry->second;
}

void ParserState::note_read(std::string_view name) {
  for (SpecialNames& macro : macros) {
    macro.caller |= name == "caller" && !macro.caller_set;
    macro.varargs |= name == "varargs" && !macro.varargs_set;
    macro.kwargs |= name == "kwargs" && !macro.kwargs_set;
  }
}

void ParserState::note_write(std::string_view name) {
  for (SpecialNames& macro : macros) {
    macro.caller_set |= name == "caller";
    macro.varargs_set |= name == "varargs";
    macro.kwargs_set |= name == "kwargs";
  }
}

absl::Status ParserState::Level::status() const {
  if (state_->depth_ <= state_->limits_.parse_depth_max) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(fmt::format("chat template line {}: nested deeper than {} levels", state_->line(),
                                                  state_->limits_.parse_depth_max));
}

}  // namespace coppice::text
