// The expression grammar above operands: one function per level of precedence, as in jinja2's parser.
#include <array>
#include <optional>
#include <span>

#include "base/status_macros.h"
#include "text/jinja/parser_state.h"

namespace coppice::text {
namespace {

ParsedExpression parse_power(ParserState* state) {
  const int line = state->line();
  COPPICE_ASSIGN_OR_RETURN(ExpressionPointer left, parse_unary(state, true));
  while (state->skip_operator("**")) {
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer right, parse_unary(state, true));
    left = state->expression(line, BinaryExpression{BinaryOperator::kPower, left, right});
  }
  return left;
}

struct OperatorName {
  std::string_view text;
  BinaryOperator operation;
};

const OperatorName* find_operator(const ParserState* state, std::span<const OperatorName> names) {
  for (const OperatorName& name : names) {
    if (state->at_operator(name.text)) {
      return &name;
    }
  }
  return nullptr;
}

ParsedExpression parse_product(ParserState* state) {
  static constexpr std::array<OperatorName, 4> kNames = {{{"*", BinaryOperator::kMultiply},
                                                          {"/", BinaryOperator::kDivide},
                                                          {"//", BinaryOperator::kFloorDivide},
                                                          {"%", BinaryOperator::kModulo}}};
  const int line = state->line();
  COPPICE_ASSIGN_OR_RETURN(ExpressionPointer left, parse_power(state));
  while (const OperatorName* name = find_operator(state, kNames)) {
    state->take();
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer right, parse_power(state));
    left = state->expression(line, BinaryExpression{name->operation, left, right});
  }
  return left;
}

ParsedExpression parse_concatenation(ParserState* state) {
  const int line = state->line();
  COPPICE_ASSIGN_OR_RETURN(ExpressionPointer first, parse_product(state));
  if (!state->at_operator("~")) {
    return first;
  }
  ConcatenateExpression parts{{first}};
  while (state->skip_operator("~")) {
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer part, parse_product(state));
    parts.parts.push_back(part);
  }
  return state->expression(line, std::move(parts));
}

ParsedExpression parse_sum(ParserState* state) {
  static constexpr std::array<OperatorName, 2> kNames = {
      {{"+", BinaryOperator::kAdd}, {"-", BinaryOperator::kSubtract}}};
  const int line = state->line();
  COPPICE_ASSIGN_OR_RETURN(ExpressionPointer left, parse_concatenation(state));
  while (const OperatorName* name = find_operator(state, kNames)) {
    state->take();
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer right, parse_concatenation(state));
    left = state->expression(line, BinaryExpression{name->operation, left, right});
  }
  return left;
}

// The comparison at hand, which is taken; nothing when there is none.
std::optional<Comparison> take_comparison(ParserState* state) {
  static constexpr std::array<std::pair<std::string_view, Comparison>, 6> kNames = {
      {{"==", Comparison::kEqual},
       {"!=", Comparison::kNotEqual},
       {"<", Comparison::kLess},
       {"<=", Comparison::kLessEqual},
       {">", Comparison::kGreater},
       {">=", Comparison::kGreaterEqual}}};
  for (const auto& [text, comparison] : kNames) {
    if (state->skip_operator(text)) {
      return comparison;
    }
  }
  if (state->skip_name("in")) {
    return Comparison::kIn;
  }
  if (state->at_name("not") && state->lookahead().kind == TokenKind::kName && state->lookahead().text == "in") {
    state->take();
    state->take();
    return Comparison::kNotIn;
  }
  return std::nullopt;
}

ParsedExpression parse_comparison(ParserState* state) {
  const int line = state->line();
  COPPICE_ASSIGN_OR_RETURN(ExpressionPointer first, parse_sum(state));
  CompareExpression chain{first, {}};
  while (const auto comparison = take_comparison(state)) {
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer next, parse_sum(state));
    chain.rest.emplace_back(*comparison, next);
  }
  return chain.rest.empty() ? first : state->expression(line, std::move(chain));
}

ParsedExpression parse_not(ParserState* state) {
  const ParserState::Level level(state);
  COPPICE_RETURN_IF_ERROR(level.status());
  const int line = state->line();
  if (!state->skip_name("not")) {
    return parse_comparison(state);
  }
  COPPICE_ASSIGN_OR_RETURN(ExpressionPointer operand, parse_not(state));
  return state->expression(line, UnaryExpression{UnaryOperator::kNot, operand});
}

ParsedExpression parse_and(ParserState* state) {
  const int line = state->line();
  COPPICE_ASSIGN_OR_RETURN(ExpressionPointer left, parse_not(state));
  while (state->skip_name("and")) {
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer right, parse_not(state));
    left = state->expression(line, LogicalExpression{true, left, right});
  }
  return left;
}

ParsedExpression parse_or(ParserState* state) {
  const int line = state->line();
  COPPICE_ASSIGN_OR_RETURN(ExpressionPointer left, parse_and(state));
  while (state->skip_name("or")) {
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer right, parse_and(state));
    left = state->expression(line, LogicalExpression{false, left, right});
  }
  return left;
}

ParsedExpression parse_conditional(ParserState* state) {
  const ParserState::Level level(state);
  COPPICE_RETURN_IF_ERROR(level.status());
  const int line = state->line();
  COPPICE_ASSIGN_OR_RETURN(ExpressionPointer value, parse_or(state));
  while (state->skip_name("if")) {
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer condition, parse_or(state));
    ExpressionPointer otherwise = nullptr;
    if (state->skip_name("else")) {
      COPPICE_ASSIGN_OR_RETURN(otherwise, parse_conditional(state));
    }
    value = state->expression(line, ConditionalExpression{condition, value, otherwise});
  }
  return value;
}

}  // namespace

ParsedExpression parse_expression(ParserState* state, bool with_conditional) {
  return with_conditional ? parse_conditional(state) : parse_or(state);
}

ParsedExpression parse_tuple(ParserState* state, bool with_conditional, std::string_view end_name,
                             bool explicit_parentheses) {
  const int line = state->line();
  TupleExpression tuple;
  bool is_tuple = false;
  while (true) {
    if (!tuple.items.empty()) {
      COPPICE_RETURN_IF_ERROR(state->expect_operator(","));
    }
    if (state->at(TokenKind::kOutputEnd) || state->at(TokenKind::kTagEnd) || state->at_operator(")") ||
        (!end_name.empty() && state->at_name(end_name))) {
      break;
    }
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer item, parse_expression(state, with_conditional));
    tuple.items.push_back(item);
    if (!state->at_operator(",")) {
      break;
    }
    is_tuple = true;
  }
  if (!is_tuple && !tuple.items.empty()) {
    return tuple.items.front();
  }
  if (!is_tuple && !explicit_parentheses) {
    return state->unexpected("an expression");
  }
  return state->expression(line, std::move(tuple));
}

}  // namespace coppice::text
