// What the two halves of the parser (statements, expressions) share: the tokens, the program being built, and the
// depth. Included by the parser's own files only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"
#include "text/jinja/template_limits.h"

namespace coppice::text {

using ParsedExpression = absl::StatusOr<ExpressionPointer>;

// Which of the special names a macro body reads before it sets them.
struct SpecialNames {
  bool caller = false, varargs = false, kwargs = false;
  bool caller_set = false, varargs_set = false, kwargs_set = false;
};

// Owner: parse_template(). Thread: one.
class ParserState {
 public:
  ParserState(std::vector<Token> tokens, Program* program, const TemplateLimits& limits);

  const Token& current() const { return tokens_[position_]; }
  const Token& lookahead() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  int line() const { return current().line; }
  Token take() { return position_ + 1 < tokens_.size() ? tokens_[position_++] : tokens_.back(); }
  bool at(TokenKind kind) const { return current().kind == kind; }
  bool at_operator(std::string_view text) const;
  bool at_name(std::string_view text) const;
  bool skip_operator(std::string_view text);
  bool skip_name(std::string_view text);
  absl::Status expect_operator(std::string_view text);
  absl::Status expect_name(std::string_view text);
  absl::StatusOr<Token> expect(TokenKind kind, std::string_view what);
  absl::Status unexpected(std::string_view expected) const;

  template <typename Form>
  ExpressionPointer expression(int line, Form form) {
    return &program_->expressions.emplace_back(Expression{line, std::move(form)});
  }
  template <typename Form>
  const Statement* statement(int line, Form form) {
    return &program_->statements.emplace_back(Statement{line, std::move(form)});
  }

  SymbolId symbol(const std::string& name);
  const StringRef& symbol_name(SymbolId id) const { return program_->symbols[static_cast<std::size_t>(id)]; }
  void note_read(std::string_view name);
  void note_write(std::string_view name);

  // Enters one level of nesting; leaves it when destroyed. Check status() before going on.
  class Level {
   public:
    explicit Level(ParserState* state) : state_(state) { ++state_->depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    ~Level() { --state_->depth_; }
    absl::Status status() const;

   private:
    ParserState* state_;
  };

  int loop_depth = 0;         // loops that break and continue could mean here
  int conditional_depth = 0;  // inside an if: an unknown filter is an error only when reached
  std::vector<SpecialNames> macros;

 private:
  std::vector<Token> tokens_;
  std::size_t position_ = 0;
  Program* program_;
  const TemplateLimits limits_;
  int depth_ = 0;
  std::unordered_map<std::string, SymbolId> symbol_ids_;
};

// An operand with its sign, attributes, calls and (unless it stands after a sign) filters and tests.
ParsedExpression parse_unary(ParserState* state, bool with_filter);
ParsedExpression parse_expression(ParserState* state, bool with_conditional = true);
// An expression, or a tuple of several. `end_name` is a name that ends the tuple, if not empty.
ParsedExpression parse_tuple(ParserState* state, bool with_conditional = true, std::string_view end_name = "",
                             bool explicit_parentheses = false);
// name(.name)* (arguments)? after a "|", applied to `input`, and whatever filters follow.
ParsedExpression parse_filters(ParserState* state, ExpressionPointer input, bool start_inline);
absl::StatusOr<Target> parse_target(ParserState* state, bool with_namespace, std::string_view end_name = "");
// A name, as a target.
absl::StatusOr<Target> parse_name_target(ParserState* state);

}  // namespace coppice::text
