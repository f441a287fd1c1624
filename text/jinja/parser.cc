// The statement grammar: text, output and tags.
#include "text/jinja/parser.h"

#include <algorithm>
#include <array>
#include <span>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/parser_state.h"

namespace coppice::text {
namespace {

using ParsedStatement = absl::StatusOr<const Statement*>;
using Names = std::span<const std::string_view>;

absl::StatusOr<Block> parse_block(ParserState* state, Names end_names);

bool at_any(const ParserState* state, Names names) {
  return std::any_of(names.begin(), names.end(), [state](std::string_view name) { return state->at_name(name); });
}

// The body of a statement, after its opening tag's expressions. Stops at the name of the tag that ends it.
absl::StatusOr<Block> parse_body(ParserState* state, Names end_names) {
  state->skip_operator(":");
  if (!state->at(TokenKind::kTagEnd)) {
    return state->unexpected("'%}'");
  }
  state->take();
  COPPICE_ASSIGN_OR_RETURN(Block block, parse_block(state, end_names));
  if (state->at(TokenKind::kEnd)) {
    return error_at_line(state->line(), fmt::format("the template ends before '{}'", end_names.back()));
  }
  return block;
}

// A body ended by one tag, whose name is taken.
absl::StatusOr<Block> parse_body_to(ParserState* state, std::string_view end_name) {
  COPPICE_ASSIGN_OR_RETURN(Block block, parse_body(state, std::array{end_name}));
  state->take();
  return block;
}

ParsedStatement parse_if(ParserState* state) {
  static constexpr std::array<std::string_view, 3> kEnds = {"elif", "else", "endif"};
  const int line = state->line();
  IfStatement statement;
  ++state->conditional_depth;
  do {
    state->take();  // if or elif
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer condition, parse_tuple(state, false));
    COPPICE_ASSIGN_OR_RETURN(Block body, parse_body(state, kEnds));
    statement.branches.emplace_back(condition, std::move(body));
  } while (state->at_name("elif"));
  if (state->take().text == "else") {
    COPPICE_ASSIGN_OR_RETURN(statement.otherwise, parse_body_to(state, "endif"));
  }
  --state->conditional_depth;
  return state->statement(line, std::move(statement));
}

ParsedStatement parse_for(ParserState* state) {
  static constexpr std::array<std::string_view, 2> kEnds = {"else", "endfor"};
  const int line = state->take().line;
  ForStatement statement;
  COPPICE_ASSIGN_OR_RETURN(statement.target, parse_target(state, false, "in"));
  COPPICE_RETURN_IF_ERROR(state->expect_name("in"));
  COPPICE_ASSIGN_OR_RETURN(statement.iterable, parse_tuple(state, false, "recursive"));
  if (state->skip_name("if")) {
    COPPICE_ASSIGN_OR_RETURN(statement.filter, parse_expression(state));
  }
  if (state->at_name("recursive")) {
    return error_at_line(line, "recursive loops are not supported");
  }
  ++state->loop_depth;
  COPPICE_ASSIGN_OR_RETURN(statement.body, parse_body(state, kEnds));
  --state->loop_depth;
  if (state->take().text == "else") {
    COPPICE_ASSIGN_OR_RETURN(statement.otherwise, parse_body_to(state, "endfor"));
  }
  return state->statement(line, std::move(statement));
}

ParsedStatement parse_set(ParserState* state) {
  const int line = state->take().line;
  COPPICE_ASSIGN_OR_RETURN(Target target, parse_target(state, true));
  if (state->skip_operator("=")) {
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer value, parse_tuple(state));
    return state->statement(line, SetStatement{std::move(target), value});
  }
  COPPICE_ASSIGN_OR_RETURN(ExpressionPointer filter, parse_filters(state, nullptr, false));
  COPPICE_ASSIGN_OR_RETURN(Block body, parse_body_to(state, "endset"));
  return state->statement(line, SetBlockStatement{std::move(target), filter, std::move(body)});
}

absl::StatusOr<std::vector<MacroParameter>> parse_signature(ParserState* state) {
  std::vector<MacroParameter> parameters;
  bool has_default = false;
  COPPICE_RETURN_IF_ERROR(state->expect_operator("("));
  while (!state->at_operator(")")) {
    if (!parameters.empty()) {
      COPPICE_RETURN_IF_ERROR(state->expect_operator(","));
    }
    COPPICE_ASSIGN_OR_RETURN(Target name, parse_name_target(state));
    MacroParameter parameter{name.symbol, name.name};
    if (state->skip_operator("=")) {
      COPPICE_ASSIGN_OR_RETURN(parameter.default_value, parse_expression(state));
      has_default = true;
    } else if (has_default) {
      return error_at_line(state->line(), "a parameter without a default follows one that has a default");
    }
    parameters.push_back(std::move(parameter));
  }
  COPPICE_RETURN_IF_ERROR(state->expect_operator(")"));
  return parameters;
}

// The body of a function (macro, call): loops around it are out of reach, and so are conditions.
absl::Status parse_function_body(ParserState* state, std::string_view end_name, MacroDefinition* macro) {
  const int outer_loops = std::exchange(state->loop_depth, 0);
  state->macros.emplace_back();
  absl::StatusOr<Block> body = parse_body_to(state, end_name);
  const SpecialNames used = state->macros.back();
  state->macros.pop_back();
  state->loop_depth = outer_loops;
  COPPICE_RETURN_IF_ERROR(body.status());
  macro->body = *std::move(body);
  const auto has = [macro](SymbolId symbol) {
    return std::any_of(macro->parameters.begin(), macro->parameters.end(),
                       [symbol](const MacroParameter& parameter) { return parameter.symbol == symbol; });
  };
  macro->uses_caller = used.caller && !has(kCallerSymbol);
  macro->uses_varargs = used.varargs && !has(kVarargsSymbol);
  macro->uses_kwargs = used.kwargs && !has(kKwargsSymbol);
  return absl::OkStatus();
}

ParsedStatement parse_macro(ParserState* state) {
  const int line = state->take().line;
  COPPICE_ASSIGN_OR_RETURN(Target name, parse_name_target(state));
  MacroStatement statement{name.symbol, {name.name, {}, {}}};
  COPPICE_ASSIGN_OR_RETURN(statement.definition.parameters, parse_signature(state));
  COPPICE_RETURN_IF_ERROR(parse_function_body(state, "endmacro", &statement.definition));
  return state->statement(line, std::move(statement));
}

ParsedStatement parse_call_block(ParserState* state) {
  const int line = state->take().line;
  CallBlockStatement statement{nullptr, {make_program_string("caller"), {}, {}}};
  if (state->at_operator("(")) {
    COPPICE_ASSIGN_OR_RETURN(statement.caller.parameters, parse_signature(state));
  }
  COPPICE_ASSIGN_OR_RETURN(statement.call, parse_expression(state));
  if (!std::holds_alternative<CallExpression>(statement.call->form)) {
    return error_at_line(line, "a call block needs a call");
  }
  COPPICE_RETURN_IF_ERROR(parse_function_body(state, "endcall", &statement.caller));
  return state->statement(line, std::move(statement));
}

ParsedStatement parse_filter_block(ParserState* state) {
  const int line = state->take().line;
  COPPICE_ASSIGN_OR_RETURN(ExpressionPointer filter, parse_filters(state, nullptr, true));
  COPPICE_ASSIGN_OR_RETURN(Block body, parse_body_to(state, "endfilter"));
  return state->statement(line, FilterBlockStatement{filter, std::move(body)});
}

ParsedStatement parse_with(ParserState* state) {
  const int line = state->take().line;
  WithStatement statement;
  while (!state->at(TokenKind::kTagEnd)) {
    if (!statement.assignments.empty()) {
      COPPICE_RETURN_IF_ERROR(state->expect_operator(","));
    }
    COPPICE_ASSIGN_OR_RETURN(Target target, parse_target(state, false));
    COPPICE_RETURN_IF_ERROR(state->expect_operator("="));
    COPPICE_ASSIGN_OR_RETURN(ExpressionPointer value, parse_expression(state));
    statement.assignments.emplace_back(std::move(target), value);
  }
  COPPICE_ASSIGN_OR_RETURN(statement.body, parse_body_to(state, "endwith"));
  return state->statement(line, std::move(statement));
}

ParsedStatement parse_generation(ParserState* state) {
  const int line = state->take().line;
  MacroDefinition body;
  COPPICE_RETURN_IF_ERROR(parse_function_body(state, "endgeneration", &body));
  return state->statement(line, GenerationStatement{std::move(body.body)});
}

ParsedStatement parse_loop_control(ParserState* state) {
  const Token token = state->take();
  if (state->loop_depth == 0) {
    return error_at_line(token.line, fmt::format("'{}' outside of a loop", token.text));
  }
  return token.text == "break" ? state->statement(token.line, BreakStatement{})
                               : state->statement(token.line, ContinueStatement{});
}

struct TagParser {
  std::string_view name;
  ParsedStatement (*parse)(ParserState*);
};
constexpr std::array<TagParser, 10> kTags = {{{"for", parse_for},
                                              {"if", parse_if},
                                              {"set", parse_set},
                                              {"macro", parse_macro},
                                              {"call", parse_call_block},
                                              {"filter", parse_filter_block},
                                              {"with", parse_with},
                                              {"generation", parse_generation},
                                              {"break", parse_loop_control},
                                              {"continue", parse_loop_control}}};
constexpr std::array<std::string_view, 7> kRefused = {"include", "import", "from",      "extends",
                                                      "block",   "print",  "autoescape"};

ParsedStatement parse_tag(ParserState* state) {
  const ParserState::Level level(state);
  COPPICE_RETURN_IF_ERROR(level.status());
  if (!state->at(TokenKind::kName)) {
    return state->unexpected("the name of a tag");
  }
  for (const TagParser& tag : kTags) {
    if (state->at_name(tag.name)) {
      return tag.parse(state);
    }
  }
  const std::string& name = state->current().text;
  const bool refused = std::find(kRefused.begin(), kRefused.end(), name) != kRefused.end();
  return error_at_line(state->line(), refused ? fmt::format("the tag '{}' is not supported in chat templates", name)
                                              : fmt::format("unknown or misplaced tag '{}'", name));
}

// Statements until the end of the template, or until a tag named in `end_names` (its name is not taken).
absl::StatusOr<Block> parse_block(ParserState* state, Names end_names) {
  Block block;
  while (!state->at(TokenKind::kEnd)) {
    const Token token = state->take();
    if (token.kind == TokenKind::kText) {
      block.push_back(state->statement(token.line, TextStatement{token.text}));
    } else if (token.kind == TokenKind::kOutputBegin) {
      COPPICE_ASSIGN_OR_RETURN(ExpressionPointer value, parse_tuple(state));
      COPPICE_RETURN_IF_ERROR(state->expect(TokenKind::kOutputEnd, "'}}'").status());
      block.push_back(state->statement(token.line, OutputStatement{value}));
    } else {
      if (at_any(state, end_names)) {
        return block;
      }
      COPPICE_ASSIGN_OR_RETURN(const Statement* statement, parse_tag(state));
      block.push_back(statement);
      COPPICE_RETURN_IF_ERROR(state->expect(TokenKind::kTagEnd, "'%}'").status());
    }
  }
  return block;
}

absl::StatusOr<Target> parse_single_target(ParserState* state, bool with_namespace) {
  if (state->skip_operator("(")) {
    COPPICE_ASSIGN_OR_RETURN(Target target, parse_target(state, false, ")"));
    COPPICE_RETURN_IF_ERROR(state->expect_operator(")"));
    return target;
  }
  if (!state->at(TokenKind::kName)) {
    return state->unexpected("a name to assign to");
  }
  if (!with_namespace || state->lookahead().kind != TokenKind::kOperator || state->lookahead().text != ".") {
    return parse_name_target(state);
  }
  const std::string name = state->take().text;
  state->take();
  COPPICE_ASSIGN_OR_RETURN(Token attribute, state->expect(TokenKind::kName, "the name of an attribute"));
  state->note_read(name);
  Target target;
  target.symbol = state->symbol(name);
  target.name = state->symbol_name(target.symbol);
  target.attribute = make_program_string(attribute.text);
  return target;
}

}  // namespace

absl::StatusOr<Target> parse_name_target(ParserState* state) {
  static constexpr std::array<std::string_view, 6> kConstants = {"true", "false", "none", "True", "False", "None"};
  COPPICE_ASSIGN_OR_RETURN(Token token, state->expect(TokenKind::kName, "a name to assign to"));
  if (std::find(kConstants.begin(), kConstants.end(), token.text) != kConstants.end()) {
    return error_at_line(token.line, fmt::format("'{}' cannot be assigned to", token.text));
  }
  state->note_write(token.text);
  Target target;
  target.symbol = state->symbol(token.text);
  target.name = state->symbol_name(target.symbol);
  return target;
}

absl::StatusOr<Target> parse_target(ParserState* state, bool with_namespace, std::string_view end_name) {
  const ParserState::Level level(state);
  COPPICE_RETURN_IF_ERROR(level.status());
  Target tuple;
  while (true) {
    COPPICE_ASSIGN_OR_RETURN(Target target, parse_single_target(state, with_namespace));
    tuple.elements.push_back(std::move(target));
    if (!state->skip_operator(",")) {
      break;
    }
    tuple.is_tuple = true;
    if (state->at_operator(")") || state->at(TokenKind::kTagEnd) || (!end_name.empty() && state->at_name(end_name))) {
      break;
    }
  }
  if (tuple.is_tuple) {
    return tuple;
  }
  Target only = std::move(tuple.elements.front());
  return only;
}

absl::StatusOr<std::shared_ptr<const Program>> parse_template(std::string_view source, const TemplateLimits& limits) {
  if (source.size() > limits.source_bytes_max) {
    return absl::ResourceExhaustedError(fmt::format("chat template: the source has {} bytes, at most {} are allowed",
                                                    source.size(), limits.source_bytes_max));
  }
  COPPICE_ASSIGN_OR_RETURN(std::vector<Token> tokens, tokenize(source));
  auto program = std::make_shared<Program>();
  ParserState state(std::move(tokens), program.get(), limits);
  COPPICE_ASSIGN_OR_RETURN(program->body, parse_block(&state, {}));
  return program;
}

}  // namespace coppice::text
