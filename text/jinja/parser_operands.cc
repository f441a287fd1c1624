// Operands: literals, names, attributes, subscripts, calls, filters, tests and signs. As in jinja2's parser.
#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/filters.h"
#include "text/jinja/parser_state.h"
#include "text/jinja/tests.h"

namespace coppice::text {
namespace {

absl::StatusOr<CallArguments> parse_call_arguments(ParserState* state) {
  const int line = state->line();
  const auto invalid = [line] { return error_at_line(line, "these call arguments are out of order"); };
  COPPICE_RETURN_IF_ERROR(state->expect_operator("("));
  CallArguments arguments;
  bool first = true;
  while (!state->at_operator(")")) {
    if (!first) {
      COPPICE_RETURN_IF_ERROR(state->expect_operator(","));
      if (state->at_operator(")")) {
        break;
      }
    }
    first = false;
    const bool spread = arguments.spread_positional != nullptr || arguments.spread_keywords != nullptr;
    if (state->skip_operator("*")) {
      if (spread) {
        return invalid();
      }
      COPPICE_ASSIGN_OR_RETURN(arguments.spread_positional, parse_expression(state));
    } else if (state->skip_operator("**")) {
      if (arguments.spread_keywords != nullptr) {
        return invalid();
      }
      COPPICE_ASSIGN_OR_RETURN(arguments.spread_keywords, parse_expression(state));
    } else if (state->at(TokenKind::kName) && state->lookahead().kind == TokenKind::kOperator &&
               state->lookahead().text == "=") {
      if (arguments.spread_keywords != nullptr) {
        return invalid();
      }
      const std::string name = state->take().text;
      state->take();
      COPPICE_ASSIGN_OR_RETURN(ExpressionPointer value, parse_expression(state));
      arguments.keywords.emplace_back(make_program_string(name), value);
    } else {
      if (spread || !arguments.keywords.empty()) {
        return invalid();
      }
      COPPICE_ASSIGN_OR_RETURN(ExpressionPointer value, parse_expression(state));
      arguments.positional.push_back(value);
    }
  }
  COPPICE_RETURN_IF_ERROR(state->expect_operator(")"));
  return arguments;
}

ParsedExpression parse_list(ParserState* state) {
  const int line = state->take().line;
  ListExpression list;
  while (!state->at_operator("]")) {
    if (!list.items.empty()) {
      COPPICE_RETURN_IF_ERROR(state->expect_operator(","));
      if (state->at_operator("]")) {
        break;
      }
    }
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer item, parse_expression(state));
    list.items.push_back(item);
  }
  COPPICE_RETURN_IF_ERROR(state->expect_operator("]"));
  return state->expression(line, std::move(list));
}

ParsedExpression parse_dict(ParserState* state) {
  const int line = state->take().line;
  DictExpression dict;
  while (!state->at_operator("}")) {
    if (!dict.entries.empty()) {
      COPPICE_RETURN_IF_ERROR(state->expect_operator(","));
      if (state->at_operator("}")) {
        break;
      }
    }
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer key, parse_expression(state));
    COPPICE_RETURN_IF_ERROR(state->expect_operator(":"));
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer value, parse_expression(state));
    dict.entries.emplace_back(key, value);
  }
  COPPICE_RETURN_IF_ERROR(state->expect_operator("}"));
  return state->expression(line, std::move(dict));
}

ParsedExpression parse_name(ParserState* state) {
  const Token token = state->take();
  const std::string& name = token.text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    return state->expression(token.line, LiteralExpression{Value(name == "true" || name == "True")});
  }
  if (name == "none" || name == "None") {
    return state->expression(token.line, LiteralExpression{Value()});
  }
  state->note_read(name);
  const SymbolId symbol = state->symbol(name);
  return state->expression(token.line, NameExpression{symbol, state->symbol_name(symbol)});
}

ParsedExpression parse_primary(ParserState* state) {
  const int line = state->line();
  switch (state->current().kind) {
    case TokenKind::kName:
      return parse_name(state);
    case TokenKind::kString: {
      std::string text;
      while (state->at(TokenKind::kString)) {
        text += state->take().text;
      }
      return state->expression(line, LiteralExpression{Value(make_program_string(std::move(text)))});
    }
    case TokenKind::kInteger:
      return state->expression(line, LiteralExpression{Value(state->take().integer)});
    case TokenKind::kReal:
      return state->expression(line, LiteralExpression{Value(state->take().real)});
    default:
      break;
  }
  if (state->skip_operator("(")) {
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer inside, parse_tuple(state, true, "", true));
    COPPICE_RETURN_IF_ERROR(state->expect_operator(")"));
    return inside;
  }
  if (state->at_operator("[")) {
    return parse_list(state);
  }
  if (state->at_operator("{")) {
    return parse_dict(state);
  }
  return state->unexpected("an expression");
}

// An index or a slice, between brackets.
ParsedExpression parse_subscribed(ParserState* state, ExpressionPointer object, int line) {
  ExpressionPointer start = nullptr;
  if (!state->at_operator(":")) {
    COPPICE_ASSIGN_OR_RETURN(start, parse_expression(state));
    if (!state->at_operator(":")) {
      return state->expression(line, SubscriptExpression{object, start});
    }
  }
  state->take();
  SliceExpression slice{object, start, nullptr, nullptr};
  const auto at_end = [state] { return state->at_operator("]") || state->at_operator(","); };
  if (!at_end() && !state->at_operator(":")) {
    COPPICE_ASSIGN_OR_RETURN(slice.stop, parse_expression(state));
  }
  if (state->skip_operator(":") && !at_end()) {
    COPPICE_ASSIGN_OR_RETURN(slice.step, parse_expression(state));
  }
  return state->expression(line, slice);
}

// x[a, b]: a tuple as the index.
ParsedExpression parse_tuple_index(ParserState* state, ExpressionPointer object, ExpressionPointer first, int line) {
  TupleExpression tuple;
  tuple.items.push_back(std::get<SubscriptExpression>(first->form).index);
  while (state->skip_operator(",")) {
    if (state->at_operator("]")) {
      return error_at_line(line, "an expression is missing after ','");
    }
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer item, parse_expression(state));
    tuple.items.push_back(item);
  }
  const ExpressionPointer index = state->expression(line, std::move(tuple));
  return state->expression(line, SubscriptExpression{object, index});
}

ParsedExpression parse_subscript(ParserState* state, ExpressionPointer object) {
  const Token token = state->take();
  if (token.text == ".") {
    const Token name = state->take();
    if (name.kind == TokenKind::kName) {
      return state->expression(token.line, AttributeExpression{object, make_program_string(name.text)});
    }
    if (name.kind != TokenKind::kInteger) {
      return error_at_line(name.line, "a name or a number is expected after '.'");
    }
    const ExpressionPointer index = state->expression(name.line, LiteralExpression{Value(name.integer)});
    return state->expression(token.line, SubscriptExpression{object, index});
  }
  if (state->at_operator("]")) {
    return error_at_line(token.line, "an index is missing between '[' and ']'");
  }
  COPPICE_ASSIGN_OR_RETURN(ExpressionPointer result, parse_subscribed(state, object, token.line));
  if (state->at_operator(",")) {
    if (!std::holds_alternative<SubscriptExpression>(result->form)) {
      return error_at_line(token.line, "a tuple of slices is not supported");
    }
    COPPICE_ASSIGN_OR_RETURN(result, parse_tuple_index(state, object, result, token.line));
  }
  COPPICE_RETURN_IF_ERROR(state->expect_operator("]"));
  return result;
}

ParsedExpression parse_call(ParserState* state, ExpressionPointer callee) {
  const int line = state->line();
  COPPICE_ASSIGN_OR_RETURN(CallArguments arguments, parse_call_arguments(state));
  return state->expression(line, CallExpression{callee, std::move(arguments)});
}

ParsedExpression parse_postfix(ParserState* state, ExpressionPointer node) {
  while (true) {
    if (state->at_operator(".") || state->at_operator("[")) {
      COPPICE_ASSIGN_OR_RETURN(node, parse_subscript(state, node));
    } else if (state->at_operator("(")) {
      COPPICE_ASSIGN_OR_RETURN(node, parse_call(state, node));
    } else {
      return node;
    }
  }
}

absl::StatusOr<std::string> parse_dotted_name(ParserState* state, std::string_view what) {
  COPPICE_ASSIGN_OR_RETURN(Token token, state->expect(TokenKind::kName, what));
  std::string name = token.text;
  while (state->skip_operator(".")) {
    COPPICE_ASSIGN_OR_RETURN(token, state->expect(TokenKind::kName, what));
    name += "." + token.text;
  }
  return name;
}

// Whether an argument without parentheses follows a test's name ("is divisibleby 3").
bool at_bare_test_argument(const ParserState* state) {
  switch (state->current().kind) {
    case TokenKind::kName:
      return !state->at_name("else") && !state->at_name("or") && !state->at_name("and");
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kReal:
      return true;
    default:
      return state->at_operator("[") || state->at_operator("{");
  }
}

ParsedExpression parse_test(ParserState* state, ExpressionPointer input) {
  const int line = state->take().line;
  const bool negated = state->skip_name("not");
  const int name_line = state->line();
  COPPICE_ASSIGN_OR_RETURN(std::string name, parse_dotted_name(state, "the name of a test"));
  if (state->conditional_depth == 0 && !test_exists(name)) {
    return error_at_line(name_line, fmt::format("no test named '{}'", name));
  }
  CallArguments arguments;
  if (state->at_operator("(")) {
    COPPICE_ASSIGN_OR_RETURN(arguments, parse_call_arguments(state));
  } else if (at_bare_test_argument(state)) {
    if (state->at_name("is")) {
      return error_at_line(line, "tests cannot be chained with 'is'");
    }
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer argument, parse_primary(state));
    COPPICE_ASSIGN_OR_RETURN(argument, parse_postfix(state, argument));
    arguments.positional.push_back(argument);
  }
  const ExpressionPointer test = state->expression(line, TestExpression{input, name, std::move(arguments)});
  return negated ? state->expression(line, UnaryExpression{UnaryOperator::kNot, test}) : test;
}

ParsedExpression parse_filter_suffixes(ParserState* state, ExpressionPointer node) {
  while (true) {
    if (state->at_operator("|")) {
      COPPICE_ASSIGN_OR_RETURN(node, parse_filters(state, node, false));
    } else if (state->at_name("is")) {
      COPPICE_ASSIGN_OR_RETURN(node, parse_test(state, node));
    } else if (state->at_operator("(")) {
      COPPICE_ASSIGN_OR_RETURN(node, parse_call(state, node));
    } else {
      return node;
    }
  }
}

}  // namespace

ParsedExpression parse_unary(ParserState* state, bool with_filter) {
  const ParserState::Level level(state);
  COPPICE_RETURN_IF_ERROR(level.status());
  const int line = state->line();
  ExpressionPointer node = nullptr;
  if (state->at_operator("-") || state->at_operator("+")) {
    const UnaryOperator operation = state->take().text == "-" ? UnaryOperator::kNegate : UnaryOperator::kPlus;
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer operand, parse_unary(state, false));
    node = state->expression(line, UnaryExpression{operation, operand});
  } else {
    COPPICE_ASSIGN_OR_RETURN(node, parse_primary(state));
  }
  COPPICE_ASSIGN_OR_RETURN(node, parse_postfix(state, node));
  return with_filter ? parse_filter_suffixes(state, node) : ParsedExpression(node);
}

ParsedExpression parse_filters(ParserState* state, ExpressionPointer input, bool start_inline) {
  while (start_inline || state->skip_operator("|")) {
    start_inline = false;
    const int line = state->line();
    COPPICE_ASSIGN_OR_RETURN(std::string name, parse_dotted_name(state, "the name of a filter"));
    if (state->conditional_depth == 0 && !filter_exists(name)) {
      return error_at_line(line, fmt::format("no filter named '{}'", name));
    }
    CallArguments arguments;
    if (state->at_operator("(")) {
      COPPICE_ASSIGN_OR_RETURN(arguments, parse_call_arguments(state));
    }
    input = state->expression(line, FilterExpression{input, std::move(name), std::move(arguments)});
  }
  return input;
}

}  // namespace coppice::text
