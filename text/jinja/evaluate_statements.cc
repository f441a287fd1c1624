// Executing statements.
#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/loop_attributes.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"

namespace coppice::text {

absl::StatusOr<std::string> Evaluator::run() {
  std::string text;
  output_ = &text;
  COPPICE_RETURN_IF_ERROR(execute(program_.body).status());
  return text;
}

absl::Status Evaluator::write(std::string_view text) {
  COPPICE_RETURN_IF_ERROR(heap_.budget().charge_text(text.size()));
  if (text.size() > heap_.limits().output_bytes_max - output_->size()) {
    return absl::ResourceExhaustedError(
        fmt::format("the output is longer than {} bytes", heap_.limits().output_bytes_max));
  }
  output_->append(text);
  return absl::OkStatus();
}

Evaluator::FlowResult Evaluator::execute(const Block& block) {
  if (depth_ >= heap_.limits().evaluation_depth_max) {
    return absl::ResourceExhaustedError(
        fmt::format("evaluation is nested deeper than {} levels", heap_.limits().evaluation_depth_max));
  }
  ++depth_;
  FlowResult flow = Flow::kNormal;
  for (const Statement* statement : block) {
    absl::Status budget = heap_.budget().charge(1);
    flow = budget.ok() ? std::visit([this](const auto& form) { return execute_form(form); }, statement->form)
                       : FlowResult(std::move(budget));
    if (!flow.ok() && error_line_ == 0) {
      error_line_ = statement->line;
    }
    if (!flow.ok() || *flow != Flow::kNormal) {
      break;
    }
  }
  --depth_;
  return flow;
}

Evaluator::FlowResult Evaluator::execute_in_scope(const Block& block, Scope* scope) {
  Scope* const outer = std::exchange(scope_, scope);
  FlowResult flow = execute(block);
  scope_ = outer;
  return flow;
}

Evaluator::FlowResult Evaluator::execute_form(const TextStatement& text) {
  COPPICE_RETURN_IF_ERROR(write(text.text));
  return Flow::kNormal;
}

Evaluator::FlowResult Evaluator::execute_form(const OutputStatement& output) {
  COPPICE_ASSIGN_OR_RETURN(Value value, evaluate(*output.value));
  if (value.is_string()) {
    COPPICE_RETURN_IF_ERROR(write(value.text()));
    return Flow::kNormal;
  }
  COPPICE_ASSIGN_OR_RETURN(std::string text, to_text(heap_, value));
  COPPICE_RETURN_IF_ERROR(write(text));
  return Flow::kNormal;
}

Evaluator::FlowResult Evaluator::execute_form(const IfStatement& statement) {
  for (const auto& [condition, body] : statement.branches) {
    COPPICE_ASSIGN_OR_RETURN(Value value, evaluate(*condition));
    if (truthy(value)) {
      return execute(body);
    }
  }
  return execute(statement.otherwise);
}

// The items that pass the loop's own "if", each judged in a scope where the target is set.
Iterator::Next Evaluator::filtered_items(const ForStatement& statement, Iterator::Next next) {
  return [this, &statement, next = std::move(next), outer = scope_]() -> absl::StatusOr<std::optional<Value>> {
    while (true) {
      COPPICE_ASSIGN_OR_RETURN(std::optional<Value> item, next());
      if (!item) {
        return item;
      }
      COPPICE_ASSIGN_OR_RETURN(Scope * scope, new_scope(outer));
      Scope* const present = std::exchange(scope_, scope);
      absl::Status assigned = assign(statement.target, *item);
      Result passed = assigned.ok() ? evaluate(*statement.filter) : Result(std::move(assigned));
      scope_ = present;
      COPPICE_RETURN_IF_ERROR(passed.status());
      if (truthy(*passed)) {
        return item;
      }
    }
  };
}

Evaluator::FlowResult Evaluator::execute_form(const ForStatement& statement) {
  COPPICE_ASSIGN_OR_RETURN(Value iterable, evaluate(*statement.iterable));
  COPPICE_ASSIGN_OR_RETURN(LoopState * loop, heap_.make<LoopState>(0));
  COPPICE_ASSIGN_OR_RETURN(loop->next, iterate(heap_, iterable));
  if (statement.filter != nullptr) {
    loop->next = filtered_items(statement, std::move(loop->next));
  }
  bool iterated = false;
  FlowResult flow = run_loop(statement, loop, &iterated);
  loop->next = []() -> absl::StatusOr<std::optional<Value>> { return std::nullopt; };
  COPPICE_RETURN_IF_ERROR(flow.status());
  if (iterated || statement.otherwise.empty()) {
    return Flow::kNormal;
  }
  COPPICE_ASSIGN_OR_RETURN(Scope * scope, new_scope(scope_));
  return execute_in_scope(statement.otherwise, scope);
}

Evaluator::FlowResult Evaluator::run_loop(const ForStatement& statement, LoopState* loop, bool* iterated) {
  Scope* const outer = scope_;
  Scope* scope = nullptr;
  while (true) {
    COPPICE_ASSIGN_OR_RETURN(bool more, advance_loop(loop));
    if (!more) {
      return Flow::kNormal;
    }
    if (scope == nullptr || scope->captured) {
      COPPICE_ASSIGN_OR_RETURN(scope, new_scope(outer));
    }
    scope->variables.clear();
    scope->set(kLoopSymbol, Value(loop));
    scope_ = scope;
    const absl::Status assigned = assign(statement.target, loop->current);
    scope_ = outer;
    COPPICE_RETURN_IF_ERROR(assigned);
    COPPICE_ASSIGN_OR_RETURN(Flow flow, execute_in_scope(statement.body, scope));
    if (flow == Flow::kBreak) {
      return Flow::kNormal;
    }
    if (flow == Flow::kNormal) {
      *iterated = true;  // as jinja2: a body that was left by continue or break does not count
    }
  }
}

Evaluator::FlowResult Evaluator::execute_form(const SetStatement& set) {
  COPPICE_ASSIGN_OR_RETURN(Value value, evaluate(*set.value));
  COPPICE_RETURN_IF_ERROR(assign(set.target, std::move(value)));
  return Flow::kNormal;
}

absl::StatusOr<std::string> Evaluator::capture(const Block& block, Flow* flow) {
  COPPICE_ASSIGN_OR_RETURN(Scope * scope, new_scope(scope_));
  std::string text;
  std::string* const outer = std::exchange(output_, &text);
  FlowResult result = execute_in_scope(block, scope);
  output_ = outer;
  COPPICE_ASSIGN_OR_RETURN(*flow, std::move(result));
  return text;
}

// The captured text as a value, through the block's filter if it has one.
Result Evaluator::apply_to_captured(ExpressionPointer filter, std::string text) {
  COPPICE_ASSIGN_OR_RETURN(Value captured, heap_.string(std::move(text)));
  if (filter == nullptr) {
    return captured;
  }
  Value outer = std::exchange(filter_input_, std::move(captured));
  Result result = evaluate(*filter);
  filter_input_ = std::move(outer);
  return result;
}

Evaluator::FlowResult Evaluator::execute_form(const SetBlockStatement& set) {
  Flow flow = Flow::kNormal;
  COPPICE_ASSIGN_OR_RETURN(std::string text, capture(set.body, &flow));
  if (flow != Flow::kNormal) {
    return flow;
  }
  COPPICE_ASSIGN_OR_RETURN(Value value, apply_to_captured(set.filter, std::move(text)));
  COPPICE_RETURN_IF_ERROR(assign(set.target, std::move(value)));
  return Flow::kNormal;
}

// What a filter or call block made: jinja2 joins it to the output without str(), so it must be text.
absl::Status Evaluator::write_block_result(const Value& value) {
  return value.is_string() ? write(value.text())
                           : template_error(fmt::format("a block makes a '{}', not text", type_name(value)));
}

Evaluator::FlowResult Evaluator::execute_form(const FilterBlockStatement& filter) {
  Flow flow = Flow::kNormal;
  COPPICE_ASSIGN_OR_RETURN(std::string text, capture(filter.body, &flow));
  if (flow != Flow::kNormal) {
    return flow;
  }
  COPPICE_ASSIGN_OR_RETURN(Value value, apply_to_captured(filter.filter, std::move(text)));
  COPPICE_RETURN_IF_ERROR(write_block_result(value));
  return Flow::kNormal;
}

Evaluator::FlowResult Evaluator::execute_form(const MacroStatement& macro) {
  COPPICE_ASSIGN_OR_RETURN(Value value, make_macro(macro.definition));
  Target target;
  target.symbol = macro.symbol;
  COPPICE_RETURN_IF_ERROR(assign(target, std::move(value)));
  return Flow::kNormal;
}

Evaluator::FlowResult Evaluator::execute_form(const CallBlockStatement& call) {
  COPPICE_ASSIGN_OR_RETURN(Value caller, make_macro(call.caller));
  COPPICE_ASSIGN_OR_RETURN(Value value, call_expression(std::get<CallExpression>(call.call->form), &caller));
  COPPICE_RETURN_IF_ERROR(write_block_result(value));
  return Flow::kNormal;
}

Evaluator::FlowResult Evaluator::execute_form(const WithStatement& with) {
  std::vector<Value> values;
  for (const auto& [target, expression] : with.assignments) {
    COPPICE_ASSIGN_OR_RETURN(Value value, evaluate(*expression));
    values.push_back(std::move(value));
  }
  COPPICE_ASSIGN_OR_RETURN(Scope * scope, new_scope(scope_));
  Scope* const outer = std::exchange(scope_, scope);
  absl::Status assigned;
  for (std::size_t i = 0; i < values.size() && assigned.ok(); ++i) {
    assigned = assign(with.assignments[i].first, std::move(values[i]));
  }
  scope_ = outer;
  COPPICE_RETURN_IF_ERROR(assigned);
  return execute_in_scope(with.body, scope);
}

Evaluator::FlowResult Evaluator::execute_form(const GenerationStatement& generation) {
  COPPICE_ASSIGN_OR_RETURN(Scope * scope, new_scope(scope_));
  return execute_in_scope(generation.body, scope);
}

}  // namespace coppice::text
