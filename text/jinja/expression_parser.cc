// The expression grammar, level by level of precedence as in jinja2's parser, and what each construct computes.
#include <array>
#include <optional>

#include <fmt/format.h>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/parser_state.h"
#include "text/jinja/rendering.h"
#include "text/jinja/text_form.h"

namespace coppice::jinja {
namespace {

ExpressionPointer literal(ParserState* state, int line, Value value) {
  return state->expression(line, [value = std::move(value)](Rendering&) { return value; });
}

CallArguments parse_call_arguments(ParserState* state) {
  CallArguments arguments;
  state->expect("(");
  state->parse_items(")", [&] {
    if (state->at("*") || state->at("**")) {
      state->fail(state->line(), "'*' and '**' in calls are not supported in chat templates");
    } else if (state->at_name_before("=")) {
      const std::string name = state->take().text;
      state->take();
      arguments.keywords.emplace_back(make_program_string(name), parse_expression(state));
    } else if (arguments.keywords.empty()) {
      arguments.positional.push_back(parse_expression(state));
    } else {
      state->fail(state->line(), "an argument without a name follows one with a name");
    }
  });
  return arguments;
}

ExpressionPointer parse_name(ParserState* state) {
  const Token token = state->take();
  const std::string& name = token.text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    return literal(state, token.line, Value(name == "true" || name == "True"));
  }
  if (name == "none" || name == "None") {
    return literal(state, token.line, Value());
  }
  if (name == "varargs" || name == "kwargs" || name == "caller") {
    state->fail(token.line, fmt::format("'{}' is not supported in chat templates", name));
  }
  return state->expression(token.line, [symbol = state->symbol(name)](Rendering& r) { return r.lookup(symbol); });
}

ExpressionPointer sequence(ParserState* state, int line, ObjectKind kind, std::vector<ExpressionPointer> items) {
  return state->expression(line, [kind, items = std::move(items)](Rendering& r) {
    auto& made = r.heap().make<Sequence>(kind);
    for (std::size_t i = 0; i < items.size() && r.heap().push(made, r.evaluate(items[i])); ++i) {
    }
    return Value(&made);
  });
}

ExpressionPointer parse_dict(ParserState* state, int line) {
  std::vector<std::pair<ExpressionPointer, ExpressionPointer>> entries;
  state->parse_items("}", [&] {
    const ExpressionPointer key = parse_expression(state);
    state->expect(":");
    entries.emplace_back(key, parse_expression(state));
  });
  return state->expression(line, [entries = std::move(entries)](Rendering& r) {
    auto& dictionary = r.heap().make<Dictionary>();
    for (const auto& [key, value] : entries) {
      const Value name = r.evaluate(key);
      r.heap().assign(dictionary, name, r.evaluate(value));
    }
    return Value(&dictionary);
  });
}

// What stands between brackets: a list, a dict, a tuple or an expression in parentheses.
ExpressionPointer parse_bracketed(ParserState* state) {
  const int line = state->line();
  if (state->skip("[")) {
    std::vector<ExpressionPointer> items;
    state->parse_items("]", [&] { items.push_back(parse_expression(state)); });
    return sequence(state, line, ObjectKind::kList, std::move(items));
  }
  if (state->skip("{")) {
    return parse_dict(state, line);
  }
  if (!state->skip("(")) {
    state->fail_unexpected("an expression");
    return literal(state, line, Value());
  }
  if (state->skip(")")) {
    return sequence(state, line, ObjectKind::kTuple, {});
  }
  const ExpressionPointer inside = parse_tuple(state);
  state->expect(")");
  return inside;
}

ExpressionPointer parse_primary(ParserState* state) {
  const int line = state->line();
  switch (state->current().kind) {
    case TokenKind::kName:
      return parse_name(state);
    case TokenKind::kString: {
      std::string text;
      while (state->at(TokenKind::kString)) {
        text += state->take().text;
      }
      return literal(state, line, Value(make_program_string(std::move(text))));
    }
    case TokenKind::kInteger:
      return literal(state, line, Value(state->take().integer));
    case TokenKind::kReal:
      return literal(state, line, Value(state->take().real));
    default:
      return parse_bracketed(state);
  }
}

ExpressionPointer subscript(ParserState* state, int line, ExpressionPointer object, ExpressionPointer index) {
  return state->expression(line, [object, index](Rendering& r) {
    const Value value = r.evaluate(object);
    return get_item(r.heap(), value, r.evaluate(index));
  });
}

// "[index]" or "[start:stop:step]".
ExpressionPointer parse_subscript(ParserState* state, ExpressionPointer object) {
  const int line = state->take().line;
  std::array<ExpressionPointer, 3> parts{};
  std::size_t count = 0;
  do {
    const bool absent = state->at(":") || state->at("]");
    parts[count++] = absent ? literal(state, line, Value()) : parse_expression(state);
    if (absent && count == 1 && state->at("]")) {
      state->fail(line, "an index is missing between '[' and ']'");
    }
  } while (count < parts.size() && state->skip(":"));
  state->expect("]");
  if (count == 1) {
    return subscript(state, line, object, parts[0]);
  }
  return state->expression(line, [object, parts](Rendering& r) {
    const Value value = r.evaluate(object);
    std::array<Value, 3> bounds;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      bounds[i] = parts[i] == nullptr ? Value() : r.evaluate(parts[i]);
    }
    return get_slice(r.heap(), value, bounds[0], bounds[1], bounds[2]);
  });
}

// A call of what `callee` gives, or of a method when `name` is not null: then `callee` is the object.
ExpressionPointer parse_call(ParserState* state, ExpressionPointer callee, const StringRef& name) {
  const int line = state->line();
  const auto call = [callee, name, given = parse_call_arguments(state)](Rendering& r) {
    Value value = r.evaluate(callee);
    const Builtin* const method = name == nullptr ? nullptr : find_method(value, name->text);
    const Value object = value;
    if (name != nullptr && method == nullptr && !r.heap().budget().failed()) {
      value = get_attribute(r.heap(), object, name);
    }
    Arguments arguments = r.evaluate(given);
    return method != nullptr ? call_builtin(r.heap(), *method, object, arguments) : r.call(value, arguments);
  };
  return state->expression(line, call);
}

// ".name", ".name(...)", or ".0" for an index.
ExpressionPointer parse_attribute(ParserState* state, ExpressionPointer object) {
  const int line = state->take().line;
  if (state->at(TokenKind::kInteger)) {
    return subscript(state, line, object, parse_primary(state));
  }
  const StringRef name = make_program_string(state->expect(TokenKind::kName, "a name or a number after '.'").text);
  if (state->at("(")) {
    return parse_call(state, object, name);
  }
  return state->expression(line,
                           [object, name](Rendering& r) { return get_attribute(r.heap(), r.evaluate(object), name); });
}

ExpressionPointer parse_postfix(ParserState* state, ExpressionPointer node) {
  while (true) {
    if (state->at(".")) {
      node = parse_attribute(state, node);
    } else if (state->at("[")) {
      node = parse_subscript(state, node);
    } else if (state->at("(")) {
      node = parse_call(state, node, nullptr);
    } else {
      return node;
    }
  }
}

// A filter or a test applied to `input`; null stands for the captured text of a block.
ExpressionPointer builtin(ParserState* state, const Token& name, bool is_filter, ExpressionPointer input,
                          CallArguments given) {
  const Builtin* const found = is_filter ? find_filter(name.text) : find_test(name.text);
  const std::string problem = unsupported(is_filter ? "filter" : "test", name.text);
  if (found == nullptr && state->conditional_depth == 0) {
    state->fail(name.line, problem);
  }
  return state->expression(name.line, [found, problem, input, given = std::move(given)](Rendering& r) {
    const Value value = input == nullptr ? r.captured : r.evaluate(input);
    const Arguments arguments = r.evaluate(given);
    return found != nullptr ? call_builtin(r.heap(), *found, value, arguments) : r.heap().fail(problem);
  });
}

ExpressionPointer negated(ParserState* state, int line, ExpressionPointer operand) {
  return state->expression(line, [operand](Rendering& r) { return Value(!truthy(r.evaluate(operand))); });
}

ExpressionPointer parse_test(ParserState* state, ExpressionPointer input) {
  const int line = state->take().line;
  const bool negative = state->skip("not");
  const Token name = state->expect(TokenKind::kName, "the name of a test");
  const bool bare_argument =
      state->at("[") || state->at("{") || state->at(TokenKind::kString) || state->at(TokenKind::kInteger) ||
      state->at(TokenKind::kReal) ||
      (state->at(TokenKind::kName) && !state->at("else") && !state->at("or") && !state->at("and"));
  CallArguments given;
  if (state->at("(")) {
    given = parse_call_arguments(state);
  } else if (state->at("is")) {
    state->fail(line, "tests cannot be chained with 'is'");
  } else if (bare_argument) {  // "is divisibleby 3"
    given.positional.push_back(parse_postfix(state, parse_primary(state)));
  }
  const ExpressionPointer test = builtin(state, name, false, input, std::move(given));
  return negative ? negated(state, line, test) : test;
}

// An operand with its sign, attributes, calls and (unless it stands after a sign) filters and tests.
ExpressionPointer parse_unary(ParserState* state, bool with_filters) {
  const ParserState::Level level(state);
  ExpressionPointer node = nullptr;
  if (state->at("-") || state->at("+")) {
    const Token sign = state->take();
    node = state->expression(sign.line, [operand = parse_unary(state, false), minus = sign.text == "-"](Rendering& r) {
      return signed_value(r.heap(), r.evaluate(operand), minus);
    });
  } else {
    node = parse_primary(state);
  }
  node = parse_postfix(state, node);
  while (with_filters && (state->at("|") || state->at("is") || state->at("("))) {
    if (state->at("is")) {
      node = parse_test(state, node);
    } else {
      node = state->skip("|") ? parse_filters(state, node) : parse_postfix(state, node);
    }
  }
  return node;
}

// Left-associative arithmetic; "~" stands between the two levels.
struct OperatorName {
  std::string_view text;
  bool is_product;
  BinaryOperator operation;
};
constexpr auto kOperators = std::to_array<OperatorName>({{"+", false, BinaryOperator::kAdd},
                                                         {"-", false, BinaryOperator::kSubtract},
                                                         {"*", true, BinaryOperator::kMultiply},
                                                         {"/", true, BinaryOperator::kDivide},
                                                         {"//", true, BinaryOperator::kFloorDivide},
                                                         {"%", true, BinaryOperator::kModulo}});

ExpressionPointer parse_concatenation(ParserState* state);

ExpressionPointer parse_arithmetic(ParserState* state, bool is_product) {
  const auto parse_operand = [&] { return is_product ? parse_unary(state, true) : parse_concatenation(state); };
  const int line = state->line();
  ExpressionPointer left = parse_operand();
  while (true) {
    const auto found = std::find_if(kOperators.begin(), kOperators.end(), [&](const OperatorName& name) {
      return name.is_product == is_product && state->skip(name.text);
    });
    if (found == kOperators.end()) {
      return left;
    }
    left = state->expression(line, [left, right = parse_operand(), operation = found->operation](Rendering& r) {
      const Value first = r.evaluate(left);
      const Value second = r.evaluate(right);
      return r.heap().budget().failed() ? Value() : binary_operation(r.heap(), operation, first, second);
    });
  }
}

ExpressionPointer parse_concatenation(ParserState* state) {
  const int line = state->line();
  std::vector<ExpressionPointer> parts{parse_arithmetic(state, true)};
  while (state->skip("~")) {
    parts.push_back(parse_arithmetic(state, true));
  }
  if (parts.size() == 1) {
    return parts[0];
  }
  return state->expression(line, [parts = std::move(parts)](Rendering& r) {
    TextBuilder text(r.heap());
    for (const ExpressionPointer part : parts) {
      text.append(to_text(r.heap(), r.evaluate(part))->text);
    }
    return text.finish();
  });
}

// Takes the comparison at hand, if there is one.
std::optional<Comparison> take_comparison(ParserState* state) {
  static constexpr std::array<std::string_view, 7> kNames = {"==", "!=", "<", "<=", ">", ">=", "in"};  // in enum order
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (state->skip(kNames[i])) {
      return static_cast<Comparison>(i);
    }
  }
  if (!state->at("not", "in")) {
    return std::nullopt;
  }
  state->take();
  state->take();
  return Comparison::kNotIn;
}

ExpressionPointer parse_comparison(ParserState* state) {
  const int line = state->line();
  const ExpressionPointer first = parse_arithmetic(state, false);
  std::vector<std::pair<Comparison, ExpressionPointer>> chain;
  while (const auto comparison = take_comparison(state)) {
    chain.emplace_back(*comparison, parse_arithmetic(state, false));
  }
  if (chain.empty()) {
    return first;
  }
  return state->expression(line, [first, chain = std::move(chain)](Rendering& r) {
    Value left = r.evaluate(first);
    for (const auto& [comparison, operand] : chain) {
      Value right = r.evaluate(operand);
      if (r.heap().budget().failed() || !compare(r.heap(), comparison, left, right)) {
        return Value(false);
      }
      left = std::move(right);
    }
    return Value(true);
  });
}

ExpressionPointer parse_not(ParserState* state) {
  const ParserState::Level level(state);
  const int line = state->line();
  return state->skip("not") ? negated(state, line, parse_not(state)) : parse_comparison(state);
}

// "and", and "or" above it: the first operand that decides.
ExpressionPointer parse_logical(ParserState* state, bool is_or) {
  const auto parse_operand = [&] { return is_or ? parse_logical(state, false) : parse_not(state); };
  const int line = state->line();
  ExpressionPointer left = parse_operand();
  while (state->skip(is_or ? "or" : "and")) {
    left = state->expression(line, [left, right = parse_operand(), is_or](Rendering& r) {
      Value value = r.evaluate(left);
      return truthy(value) == is_or ? value : r.evaluate(right);
    });
  }
  return left;
}

}  // namespace

ExpressionPointer parse_expression(ParserState* state, bool with_conditional) {
  const ParserState::Level level(state);
  const int line = state->line();
  ExpressionPointer value = parse_logical(state, true);
  while (with_conditional && state->skip("if")) {
    const ExpressionPointer condition = parse_logical(state, true);
    const ExpressionPointer otherwise = state->skip("else") ? parse_expression(state) : nullptr;
    value = state->expression(line, [value, condition, otherwise](Rendering& r) {
      if (truthy(r.evaluate(condition))) {
        return r.evaluate(value);
      }
      return otherwise != nullptr ? r.evaluate(otherwise)
                                  : Value(Undefined{nullptr, "an inline if was false and has no else"});
    });
  }
  return value;
}

ExpressionPointer parse_tuple(ParserState* state, bool with_conditional) {
  const int line = state->line();
  std::vector<ExpressionPointer> items{parse_expression(state, with_conditional)};
  if (!state->at(",")) {
    return items[0];
  }
  while (state->skip(",") && !state->at_end() && !state->at(")")) {
    items.push_back(parse_expression(state, with_conditional));
  }
  return sequence(state, line, ObjectKind::kTuple, std::move(items));
}

ExpressionPointer parse_filters(ParserState* state, ExpressionPointer input) {
  do {
    const Token name = state->expect(TokenKind::kName, "the name of a filter");
    input = builtin(state, name, true, input, state->at("(") ? parse_call_arguments(state) : CallArguments());
  } while (state->skip("|"));
  return input;
}

}  // namespace coppice::jinja
