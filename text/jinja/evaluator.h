// Runs a Program: one Evaluator is one rendering. Scopes follow jinja2: for, macro, call, with, filter and set blocks
// have their own; if has none; what is set in a scope is not seen outside it.
#pragma once

#include <ctime>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "text/jinja/ast.h"
#include "text/jinja/heap.h"

namespace coppice::text {

// Variables of one scope, few in number; the template's own top level is Evaluator::top_level_ instead.
struct Scope {
  Scope* parent = nullptr;  // null: the top level
  std::vector<std::pair<SymbolId, Value>> variables;
  bool captured = false;  // a macro refers to it: it must not be used again for another iteration

  void set(SymbolId symbol, Value value);
};

// Owner: the rendering. Thread: one. The Program and the Heap outlive it.
class Evaluator {
 public:
  Evaluator(const Program& program, Heap& heap) : program_(program), heap_(heap) {}
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  // Makes the members of `context` (a JSON object) and the global functions visible; strftime_now() says `now`.
  absl::Status define_variables(const nlohmann::ordered_json& context, const std::tm& now);
  absl::StatusOr<std::string> run();
  // Where in the template the failure of run() arose, 0 if unknown.
  int error_line() const { return error_line_; }

 private:
  enum class Flow : std::uint8_t { kNormal, kBreak, kContinue };
  using FlowResult = absl::StatusOr<Flow>;

  // Expressions (evaluate_expressions.cc).
  Result evaluate(const Expression& expression);
  Result evaluate_or_none(ExpressionPointer expression);
  Result evaluate_form(const LiteralExpression& literal) { return literal.value; }
  Result evaluate_form(const NameExpression& name) { return lookup(name.symbol, name.name); }
  Result evaluate_form(const TupleExpression& tuple);
  Result evaluate_form(const ListExpression& list);
  Result evaluate_form(const DictExpression& dict);
  Result evaluate_form(const UnaryExpression& unary);
  Result evaluate_form(const BinaryExpression& binary);
  Result evaluate_form(const LogicalExpression& logical);
  Result evaluate_form(const CompareExpression& comparison);
  Result evaluate_form(const ConcatenateExpression& concatenation);
  Result evaluate_form(const ConditionalExpression& conditional);
  Result evaluate_form(const AttributeExpression& attribute);
  Result evaluate_form(const SubscriptExpression& subscript);
  Result evaluate_form(const SliceExpression& slice);
  Result evaluate_form(const CallExpression& call);
  Result evaluate_form(const FilterExpression& filter);
  Result evaluate_form(const TestExpression& test);
  absl::StatusOr<std::vector<Value>> evaluate_all(const std::vector<ExpressionPointer>& expressions);
  absl::StatusOr<Arguments> evaluate_arguments(const CallArguments& arguments);
  absl::Status spread_keywords(const Value& mapping, Arguments* arguments);
  Result call_expression(const CallExpression& call, const Value* caller);
  Result call_value(const Value& callee, Arguments& arguments);

  // Statements (evaluate_statements.cc).
  FlowResult execute(const Block& block);
  FlowResult execute_in_scope(const Block& block, Scope* scope);
  FlowResult execute_form(const TextStatement& text);
  FlowResult execute_form(const OutputStatement& output);
  FlowResult execute_form(const IfStatement& statement);
  FlowResult execute_form(const ForStatement& loop);
  FlowResult execute_form(const SetStatement& set);
  FlowResult execute_form(const SetBlockStatement& set);
  FlowResult execute_form(const MacroStatement& macro);
  FlowResult execute_form(const CallBlockStatement& call);
  FlowResult execute_form(const FilterBlockStatement& filter);
  FlowResult execute_form(const WithStatement& with);
  FlowResult execute_form(const GenerationStatement& generation);
  FlowResult execute_form(const BreakStatement&) { return Flow::kBreak; }
  FlowResult execute_form(const ContinueStatement&) { return Flow::kContinue; }
  FlowResult run_loop(const ForStatement& statement, LoopState* loop, bool* iterated);
  Iterator::Next filtered_items(const ForStatement& statement, Iterator::Next next);
  // A block's output as a string instead of as output, in a scope of its own.
  absl::StatusOr<std::string> capture(const Block& block, Flow* flow);
  Result apply_to_captured(ExpressionPointer filter, std::string text);
  absl::Status write(std::string_view text);
  absl::Status write_block_result(const Value& value);

  // Variables (variables.cc).
  Result lookup(SymbolId symbol, const StringRef& name) const;
  absl::Status assign(const Target& target, Value value);
  absl::Status assign_attribute(const Target& target, Value value);
  absl::StatusOr<Scope*> new_scope(Scope* parent);
  absl::Status define_globals(const std::tm& now);

  // Macros (macros.cc).
  Result make_macro(const MacroDefinition& definition);
  Result call_macro(const MacroDefinition& definition, Scope* closure, Arguments& arguments);
  absl::Status bind_macro(const MacroDefinition& definition, Scope* scope, Arguments& arguments);
  absl::Status bind_special(const MacroDefinition& definition, Scope* scope, Arguments& arguments);

  const Program& program_;
  Heap& heap_;
  std::vector<std::optional<Value>> top_level_;  // by SymbolId: globals, context, then what the template sets
  std::deque<Scope> scopes_;
  Scope* scope_ = nullptr;  // the present one
  std::string* output_ = nullptr;
  Value filter_input_;  // what a filter block's filter is applied to
  int depth_ = 0;
  int error_line_ = 0;
};

}  // namespace coppice::text
