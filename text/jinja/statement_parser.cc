// The parser's handling of tokens, and the statement grammar: text, output and tags, and what each statement does.
#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/parser_state.h"
#include "text/jinja/rendering.h"
#include "text/jinja/text_form.h"

namespace coppice::jinja {
namespace {

bool is_word(const Token& token, std::string_view text) {
  return (token.kind == TokenKind::kOperator || token.kind == TokenKind::kName) && token.text == text;
}

std::string described(const Token& token) {
  if (token.kind == TokenKind::kEnd) {
    return "the end of the template";
  }
  const bool ends_tag = token.kind == TokenKind::kOutputEnd || token.kind == TokenKind::kTagEnd;
  return ends_tag ? "the end of the tag" : fmt::format("'{}'", token.text);
}

}  // namespace

ParserState::ParserState(std::vector<Token> tokens, Program* program, const Limits& limits)
    : tokens_(std::move(tokens)), program_(program), limits_(limits) {
  symbol("loop");  // kLoopSymbol
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
  if (const auto found = program_->symbol_ids.find(name); found != program_->symbol_ids.end()) {
    return found->second;
  }
  const auto id = static_cast<SymbolId>(program_->symbols.size());
  program_->symbols.push_back(make_program_string(name));
  program_->symbol_ids.emplace(program_->symbols.back()->text, id);
  return id;
}

ParserState::Level::Level(ParserState* state) : state_(state) {
  if (++state_->depth_ > state_->limits_.parse_depth_max) {
    state_->fail(absl::ResourceExhaustedError(fmt::format("chat template line {}: nested deeper than {} levels",
                                                          state_->line(), state_->limits_.parse_depth_max)));
  }
}

namespace {

using Names = std::initializer_list<std::string_view>;

Target parse_target(ParserState* state);
Target parse_single_target(ParserState* state);
Block parse_block(ParserState* state, Names end_names);

// The body of a statement, after its opening tag's expressions, up to the tag that ends it, whose name is taken.
struct Body {
  Block block;
  std::string end;
};
Body parse_body(ParserState* state, Names end_names) {
  state->skip(":");
  state->expect(TokenKind::kTagEnd, "'%}'");
  Block block = parse_block(state, end_names);
  if (state->at(TokenKind::kEnd)) {
    state->fail(state->line(), fmt::format("the template ends before '{}'", *(end_names.end() - 1)));
  }
  return {std::move(block), state->take().text};
}

const Statement* parse_if(ParserState* state) {
  const int line = state->take().line;
  std::vector<std::pair<ExpressionPointer, Block>> branches;
  Block otherwise;
  Body body;
  ++state->conditional_depth;
  do {
    const ExpressionPointer condition = parse_tuple(state, false);
    body = parse_body(state, {"elif", "else", "endif"});
    branches.emplace_back(condition, std::move(body.block));
  } while (body.end == "elif");
  if (body.end == "else") {
    otherwise = parse_body(state, {"endif"}).block;
  }
  --state->conditional_depth;
  return state->statement(line, [branches = std::move(branches), otherwise = std::move(otherwise)](Rendering& r) {
    for (const auto& [condition, block] : branches) {
      if (truthy(r.evaluate(condition))) {
        return r.execute(block);
      }
    }
    return r.execute(otherwise);
  });
}

struct ForLoop {
  Target target;
  ExpressionPointer iterable;
  ExpressionPointer filter;
  Block body;
  Block otherwise;
};

// The items that pass the loop's own "if", each judged in a scope where the target is set.
Iterator::Next filtered_items(Rendering& r, const ForLoop& loop, Iterator::Next next) {
  return [&r, &loop, next = std::move(next), outer = r.scope()] {
    while (std::optional<Value> item = next()) {
      Scope* const present = r.scope();
      r.enter_scope(outer);
      r.enter_scope(r.new_scope());
      r.assign(loop.target, *item);
      const bool passed = truthy(r.evaluate(loop.filter));
      r.enter_scope(present);
      if (passed) {
        return item;
      }
    }
    return std::optional<Value>();
  };
}

Flow run_loop(Rendering& r, const ForLoop& loop) {
  Iterator::Next next = iterate(r.heap(), r.evaluate(loop.iterable));
  next = loop.filter == nullptr ? std::move(next) : filtered_items(r, loop, std::move(next));
  auto& state = r.heap().make<LoopState>(std::move(next));
  Scope* const outer = r.scope();
  Scope* scope = nullptr;
  bool iterated = false;
  Flow flow = Flow::kNormal;
  while (flow != Flow::kBreak && state.advance()) {
    scope = scope == nullptr || scope->captured ? r.new_scope() : scope;
    r.clear(*scope);
    r.enter_scope(scope);
    r.set(kLoopSymbol, Value(&state));
    r.assign(loop.target, state.current());
    flow = r.execute(loop.body);
    r.enter_scope(outer);
    iterated |= flow == Flow::kNormal;  // as jinja2: a body that was left by continue or break does not count
  }
  state.finish();
  return iterated || loop.otherwise.empty() ? Flow::kNormal : r.execute_in(loop.otherwise, r.new_scope());
}

const Statement* parse_for(ParserState* state) {
  const int line = state->take().line;
  ForLoop loop;
  loop.target = parse_target(state);
  state->expect("in");
  loop.iterable = parse_tuple(state, false);
  loop.filter = state->skip("if") ? parse_expression(state) : nullptr;
  if (state->at("recursive")) {
    state->fail(line, "recursive loops are not supported");
  }
  ++state->loop_depth;
  Body body = parse_body(state, {"else", "endfor"});
  --state->loop_depth;
  loop.body = std::move(body.block);
  if (body.end == "else") {
    loop.otherwise = parse_body(state, {"endfor"}).block;
  }
  return state->statement(line, [loop = std::move(loop)](Rendering& r) { return run_loop(r, loop); });
}

// What a filter block made: jinja2 joins it to the output without str(), so it must be text.
void write_text(Rendering& r, const Value& value) {
  if (value.is_string()) {
    r.write(value.text());
  } else {
    r.heap().fail(fmt::format("a block makes a '{}', not text", type_name(value)));
  }
}

// A set block (with a target) or a filter block: its body, captured and filtered.
const Statement* parse_capture(ParserState* state, int line, std::optional<Target> target, ExpressionPointer filter,
                               std::string_view end_name) {
  Block body = parse_body(state, {end_name}).block;
  return state->statement(line, [target = std::move(target), filter, body = std::move(body)](Rendering& r) {
    Flow flow = Flow::kNormal;
    Value value = r.capture(body, &flow);
    if (flow != Flow::kNormal) {
      return flow;
    }
    if (filter != nullptr) {
      Value outer = std::exchange(r.captured, std::move(value));
      value = r.evaluate(filter);
      r.captured = std::move(outer);
    }
    if (target) {
      r.assign(*target, std::move(value));
    } else {
      write_text(r, value);
    }
    return flow;
  });
}

const Statement* parse_set(ParserState* state) {
  const int line = state->take().line;
  Target target = parse_target(state);
  if (!state->skip("=")) {
    const ExpressionPointer filter = state->skip("|") ? parse_filters(state, nullptr) : nullptr;
    return parse_capture(state, line, std::move(target), filter, "endset");
  }
  return state->statement(line, [target = std::move(target), value = parse_tuple(state)](Rendering& r) {
    r.assign(target, r.evaluate(value));
    return Flow::kNormal;
  });
}

const Statement* parse_filter_block(ParserState* state) {
  const int line = state->take().line;
  return parse_capture(state, line, std::nullopt, parse_filters(state, nullptr), "endfilter");
}

// A name to assign to.
SymbolId parse_name_target(ParserState* state) {
  const Token token = state->expect(TokenKind::kName, "a name to assign to");
  for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
    if (token.text == constant) {
      state->fail(token.line, fmt::format("'{}' cannot be assigned to", constant));
    }
  }
  return state->symbol(token.text);
}

// The parameters of a macro, after "(".
std::vector<Macro::Parameter> parse_signature(ParserState* state) {
  std::vector<Macro::Parameter> parameters;
  state->parse_items(")", [&] {
    Macro::Parameter parameter{parse_name_target(state)};
    if (state->skip("=")) {
      parameter.default_value = parse_expression(state);
    } else if (!parameters.empty() && parameters.back().default_value != nullptr) {
      state->fail(state->line(), "a parameter without a default follows one that has a default");
    }
    parameters.push_back(parameter);
  });
  return parameters;
}

// The body of a function (macro, generation): loops around it are out of reach.
Block parse_function_body(ParserState* state, std::string_view end_name) {
  const int outer_loops = std::exchange(state->loop_depth, 0);
  Block body = parse_body(state, {end_name}).block;
  state->loop_depth = outer_loops;
  return body;
}

const Statement* parse_macro(ParserState* state) {
  const int line = state->take().line;
  Macro macro;
  macro.symbol = parse_name_target(state);
  state->expect("(");
  macro.parameters = parse_signature(state);
  macro.body = parse_function_body(state, "endmacro");
  return state->statement(line, [macro = std::move(macro)](Rendering& r) {
    r.set(macro.symbol, r.make_macro(macro));
    return Flow::kNormal;
  });
}

const Statement* parse_with(ParserState* state) {
  const int line = state->take().line;
  std::vector<std::pair<Target, ExpressionPointer>> assignments;
  while (!state->at_end() && (assignments.empty() || state->skip(","))) {
    Target target = parse_single_target(state);
    state->expect("=");
    assignments.emplace_back(std::move(target), parse_expression(state));
  }
  return state->statement(line, [assignments, body = parse_body(state, {"endwith"}).block](Rendering& r) {
    std::vector<Value> values;
    for (const auto& assignment : assignments) {
      values.push_back(r.evaluate(assignment.second));
    }
    Scope* const outer = r.scope();
    r.enter_scope(r.new_scope());
    for (std::size_t i = 0; i < values.size(); ++i) {
      r.assign(assignments[i].first, std::move(values[i]));
    }
    const Flow flow = r.execute(body);
    r.enter_scope(outer);
    return flow;
  });
}

// {% generation %} marks what the assistant says; it renders as its body in a scope of its own.
const Statement* parse_generation(ParserState* state) {
  const int line = state->take().line;
  return state->statement(line, [body = parse_function_body(state, "endgeneration")](Rendering& r) {
    return r.execute_in(body, r.new_scope());
  });
}

const Statement* parse_loop_control(ParserState* state) {
  const Token token = state->take();
  if (state->loop_depth == 0) {
    state->fail(token.line, fmt::format("'{}' outside of a loop", token.text));
  }
  const Flow flow = token.text == "break" ? Flow::kBreak : Flow::kContinue;
  return state->statement(token.line, [flow](Rendering&) { return flow; });
}

struct TagParser {
  std::string_view name;
  const Statement* (*parse)(ParserState*);
};
constexpr auto kTags = std::to_array<TagParser>({{"for", parse_for},
                                                 {"if", parse_if},
                                                 {"set", parse_set},
                                                 {"macro", parse_macro},
                                                 {"filter", parse_filter_block},
                                                 {"with", parse_with},
                                                 {"generation", parse_generation},
                                                 {"break", parse_loop_control},
                                                 {"continue", parse_loop_control}});

const Statement* parse_tag(ParserState* state) {
  const ParserState::Level level(state);
  const auto tag = std::find_if(kTags.begin(), kTags.end(), [state](const TagParser& t) { return state->at(t.name); });
  if (tag != kTags.end()) {
    return tag->parse(state);
  }
  if (!state->at(TokenKind::kName)) {
    state->fail_unexpected("the name of a tag");
  }
  const std::string& name = state->current().text;
  const bool misplaced = name.starts_with("end") || name.starts_with("el");  // else, elif
  state->fail(state->line(), misplaced ? fmt::format("misplaced tag '{}'", name) : unsupported("tag", name));
  return nullptr;
}

// Statements until the end of the template, or until a tag named in `end_names` (its name is not taken).
Block parse_block(ParserState* state, Names end_names) {
  Block block;
  while (!state->at(TokenKind::kEnd)) {
    Token token = state->take();
    if (token.kind == TokenKind::kText) {
      block.push_back(state->statement(token.line, [text = std::move(token.text)](Rendering& r) {
        r.write(text);
        return Flow::kNormal;
      }));
    } else if (token.kind == TokenKind::kOutputBegin) {
      block.push_back(state->statement(token.line, [value = parse_tuple(state)](Rendering& r) {
        r.write(to_text(r.heap(), r.evaluate(value))->text);
        return Flow::kNormal;
      }));
      state->expect(TokenKind::kOutputEnd, "'}}'");
    } else {
      if (std::any_of(end_names.begin(), end_names.end(), [state](std::string_view name) { return state->at(name); })) {
        return block;
      }
      block.push_back(parse_tag(state));
      state->expect(TokenKind::kTagEnd, "'%}'");
    }
  }
  return block;
}

// A name, an attribute of a namespace, or targets in parentheses.
Target parse_single_target(ParserState* state) {
  if (state->skip("(")) {
    Target target = parse_target(state);
    state->expect(")");
    return target;
  }
  Target target;
  target.symbol = parse_name_target(state);
  if (state->skip(".")) {
    target.attribute = make_program_string(state->expect(TokenKind::kName, "the name of an attribute").text);
  }
  return target;
}

Target parse_target(ParserState* state) {
  const ParserState::Level level(state);
  Target first = parse_single_target(state);
  if (!state->at(",")) {
    return first;
  }
  Target tuple;
  tuple.elements.push_back(std::move(first));
  while (state->skip(",") && !state->at(")") && !state->at("in") && !state->at("=") && !state->at_end()) {
    tuple.elements.push_back(parse_single_target(state));
  }
  return tuple;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Program>> parse_template(std::string_view source, const Limits& limits) {
  if (source.size() > limits.source_bytes_max) {
    return absl::ResourceExhaustedError(fmt::format("chat template: the source has {} bytes, at most {} are allowed",
                                                    source.size(), limits.source_bytes_max));
  }
  COPPICE_ASSIGN_OR_RETURN(std::vector<Token> tokens, tokenize(source));
  auto program = std::make_shared<Program>();
  program->literals.push_back('\0');
  for (const Token& token : tokens) {
    if (token.kind == TokenKind::kText || token.kind == TokenKind::kString) {
      program->literals.append(token.text).push_back('\0');
    }
  }
  ParserState state(std::move(tokens), program.get(), limits);
  program->body = parse_block(&state, {});
  COPPICE_RETURN_IF_ERROR(state.status());
  return program;
}

}  // namespace coppice::jinja
