// What the two halves of the parser (statements, expressions) share: the tokens, the program being built, and the
// first error. Included by the parser's own files only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "text/jinja/budget.h"
#include "text/jinja/lexer.h"
#include "text/jinja/program.h"

namespace coppice::jinja {

// Owner: parse_template(). Thread: one. ENSURES: after an error the state stands at the end of the template, where
// every loop and every recursion of the parser ends; only the first error counts.
class ParserState {
 public:
  ParserState(std::vector<Token> tokens, Program* program, const Limits& limits);

  const absl::Status& status() const { return status_; }
  void fail(int line, std::string_view message) { fail(error_at_line(line, message)); }
  void fail_unexpected(std::string_view expected);

  const Token& current() const { return tokens_[position_]; }
  int line() const { return current().line; }
  Token take() { return position_ + 1 < tokens_.size() ? tokens_[position_++] : tokens_.back(); }
  bool at(TokenKind kind) const { return current().kind == kind; }
  // At the operator or name `text`; followed by the operator or name `next`, if not empty.
  bool at(std::string_view text, std::string_view next = "") const;
  bool at_name_before(std::string_view next) const;
  // At the end of a tag or of the template.
  bool at_end() const { return at(TokenKind::kOutputEnd) || at(TokenKind::kTagEnd) || at(TokenKind::kEnd); }
  bool skip(std::string_view text);
  void expect(std::string_view text);
  Token expect(TokenKind kind, std::string_view what);

  // Comma-separated items up to `close`, which is taken; a comma may stand before it.
  template <typename ParseItem>
  void parse_items(std::string_view close, ParseItem parse_item) {
    while (!skip(close) && status_.ok()) {
      parse_item();
      if (!at(close)) {
        expect(",");
      }
    }
  }

  ExpressionPointer expression(int line, std::function<Value(Rendering&)> evaluate) {
    return &program_->expressions.emplace_back(Expression{line, std::move(evaluate)});
  }
  const Statement* statement(int line, std::function<Flow(Rendering&)> execute) {
    return &program_->statements.emplace_back(Statement{line, std::move(execute)});
  }
  SymbolId symbol(const std::string& name);

  // One level of nesting, left when destroyed; an error when it is one too many.
  class Level {
   public:
    explicit Level(ParserState* state);
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    ~Level() { --state_->depth_; }

   private:
    ParserState* state_;
  };

  int loop_depth = 0;         // loops that break and continue could mean here
  int conditional_depth = 0;  // inside an if: an unknown filter is an error only when reached

 private:
  void fail(absl::Status status);

  std::vector<Token> tokens_;
  std::size_t position_ = 0;
  Program* program_;
  const Limits limits_;
  int depth_ = 0;
  absl::Status status_;
};

// An expression; `with_conditional` allows "x if y else z" at its top.
ExpressionPointer parse_expression(ParserState* state, bool with_conditional = true);
// An expression, or a tuple of several.
ExpressionPointer parse_tuple(ParserState* state, bool with_conditional = true);
// A filter's name and arguments, applied to `input`, and the "| filter" that follow.
ExpressionPointer parse_filters(ParserState* state, ExpressionPointer input);

}  // namespace coppice::jinja
