// Evaluating, executing, variables and macros.
#include "text/jinja/rendering.h"

#include <algorithm>

#include <fmt/format.h>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"

namespace coppice::jinja {

namespace {

// Variables that are compared for the price of a step: a template can have thousands in one scope.
constexpr std::size_t kVariablesPerStep = 32;
// Memory of one variable, in a vector that may be half empty.
constexpr std::size_t kVariableBytes = 2 * sizeof(std::pair<SymbolId, Value>);

}  // namespace

Value* Rendering::find(Scope& scope, SymbolId symbol) {
  const auto found = std::find_if(scope.variables.begin(), scope.variables.end(),
                                  [symbol](const auto& variable) { return variable.first == symbol; });
  const bool charged = heap_.budget().charge(static_cast<std::int64_t>(scope.variables.size() / kVariablesPerStep));
  return found == scope.variables.end() || !charged ? nullptr : &found->second;
}

absl::StatusOr<std::string> Rendering::run(const nlohmann::ordered_json& context, const std::tm& now) {
  TextBuilder text(heap_);
  output_ = &text;
  define_variables(context, now);
  execute(program_.body);
  return heap_.budget().failed() ? absl::StatusOr<std::string>(heap_.budget().status()) : text.take();
}

void Rendering::define_variables(const nlohmann::ordered_json& context, const std::tm& now) {
  top_level_.resize(program_.symbols.size());
  const auto define = [this](std::string_view name) {
    const auto found = program_.symbol_ids.find(name);
    return found == program_.symbol_ids.end() ? nullptr : &top_level_[static_cast<std::size_t>(found->second)];
  };
  for (const auto& [name, function] : make_globals(heap_, now)) {
    if (std::optional<Value>* const variable = define(name)) {
      *variable = function;
    }
  }
  if (!context.is_object()) {
    heap_.fail("the context of a chat template must be a JSON object");
    return;
  }
  for (auto entry = context.begin(); entry != context.end() && heap_.budget().charge(1); ++entry) {
    if (std::optional<Value>* const variable = define(entry.key())) {
      *variable = heap_.from_json(entry.value());
    }
  }
}

Value Rendering::evaluate(ExpressionPointer expression) {
  Budget& budget = heap_.budget();
  Value value;
  if (budget.enter() && expression != nullptr && budget.charge(1)) {
    value = expression->evaluate(*this);
  }
  budget.leave();
  if (budget.failed()) {
    error_line_ = error_line_ == 0 && expression != nullptr ? expression->line : error_line_;
    return Value();
  }
  return value;
}

Arguments Rendering::evaluate(const CallArguments& arguments) {
  Arguments result;
  for (const ExpressionPointer expression : arguments.positional) {
    result.positional.push_back(evaluate(expression));
  }
  for (const auto& [name, expression] : arguments.keywords) {
    result.keywords.emplace_back(name, evaluate(expression));
  }
  return result;
}

Flow Rendering::execute(const Block& block) {
  Budget& budget = heap_.budget();
  Flow flow = Flow::kNormal;
  const bool entered = budget.enter();
  for (std::size_t i = 0; entered && i < block.size() && flow == Flow::kNormal && budget.charge(1); ++i) {
    flow = block[i]->execute(*this);
    error_line_ = budget.failed() && error_line_ == 0 ? block[i]->line : error_line_;
  }
  budget.leave();
  return budget.failed() ? Flow::kBreak : flow;
}

Flow Rendering::execute_in(const Block& block, Scope* scope) {
  Scope* const outer = std::exchange(scope_, scope);
  const Flow flow = execute(block);
  scope_ = outer;
  return flow;
}

void Rendering::write(std::string_view text) {
  if (text.size() > heap_.limits().output_bytes_max - output_->size()) {
    heap_.budget().fail_exhausted(fmt::format("the output is longer than {} bytes", heap_.limits().output_bytes_max));
  }
  output_->append(text);
}

Value Rendering::capture(const Block& block, Flow* flow) {
  TextBuilder text(heap_);
  TextBuilder* const outer = std::exchange(output_, &text);
  *flow = execute_in(block, new_scope());
  output_ = outer;
  return text.finish();
}

Value Rendering::lookup(SymbolId symbol) {
  for (Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    if (const Value* const value = find(*scope, symbol)) {
      return *value;
    }
  }
  const std::optional<Value>& value = top_level_[static_cast<std::size_t>(symbol)];
  return value ? *value : Value(Undefined{program_.name(symbol), kNoVariable});
}

void Rendering::set(SymbolId symbol, Value value) {
  if (scope_ == nullptr) {
    top_level_[static_cast<std::size_t>(symbol)] = std::move(value);
    return;
  }
  if (Value* const found = find(*scope_, symbol)) {
    *found = std::move(value);
  } else if (heap_.budget().reserve(kVariableBytes)) {
    scope_->variables.emplace_back(symbol, std::move(value));
  }
}

void Rendering::clear(Scope& scope) {
  heap_.budget().release(kVariableBytes * scope.variables.size());
  scope.variables.clear();
}

Scope* Rendering::new_scope() {
  static_cast<void>(heap_.budget().reserve(sizeof(Scope)));  // a failure stops the next charge
  scopes_.emplace_back().parent = scope_;
  return &scopes_.back();
}

void Rendering::assign(const Target& target, Value value) {
  if (!target.elements.empty()) {
    const Value list = collected(heap_, value);
    const std::vector<Value>& items = items_of(list);
    if (items.size() != target.elements.size()) {
      heap_.fail(fmt::format("{} values are unpacked into {} variables", items.size(), target.elements.size()));
    }
    for (std::size_t i = 0; i < target.elements.size() && !heap_.budget().failed(); ++i) {
      assign(target.elements[i], items[i]);
    }
  } else if (target.attribute != nullptr) {
    const Value object = lookup(target.symbol);
    check_namespace_name(heap_, target.attribute->text);
    if (object.is(ObjectKind::kNamespace)) {
      heap_.assign(*static_cast<Namespace&>(*object.object()).attributes, Value(target.attribute), std::move(value));
    } else {
      heap_.fail(fmt::format("'{}' is no namespace: its attributes cannot be set", program_.name(target.symbol)->text));
    }
  } else {
    set(target.symbol, std::move(value));
  }
}

Value Rendering::call(const Value& callee, Arguments& arguments) {
  return callee.is(ObjectKind::kCallable) ? static_cast<Callable&>(*callee.object()).body(arguments)
         : callee.is_undefined()          ? heap_.fail(undefined_problem(callee))
                                          : heap_.fail(fmt::format("a '{}' cannot be called", type_name(callee)));
}

Value Rendering::make_macro(const Macro& macro) {
  for (Scope* scope = scope_; scope != nullptr && !scope->captured; scope = scope->parent) {
    scope->captured = true;
  }
  return heap_.callable(
      [this, &macro, closure = scope_](Arguments& arguments) { return call_macro(macro, closure, arguments); });
}

Value Rendering::call_macro(const Macro& macro, Scope* closure, Arguments& arguments) {
  Scope* const outer = std::exchange(scope_, closure);
  TextBuilder text(heap_);
  TextBuilder* const outer_output = std::exchange(output_, &text);
  Scope* const own = scope_ = new_scope();
  bind_macro(macro, arguments);
  execute(macro.body);
  if (!own->captured) {
    clear(*own);
  }
  scope_ = outer;
  output_ = outer_output;
  return text.finish();
}

// Positions, then names, then defaults (which may use the parameters before them), then undefined.
void Rendering::bind_macro(const Macro& macro, Arguments& arguments) {
  const auto take_keyword = [this, &arguments](std::string_view name) {
    const auto found = std::find_if(arguments.keywords.begin(), arguments.keywords.end(),
                                    [name](const auto& keyword) { return keyword.first->text == name; });
    const auto steps = static_cast<std::int64_t>(arguments.keywords.size() / kVariablesPerStep);
    std::optional<Value> value;
    if (heap_.budget().charge(steps) && found != arguments.keywords.end()) {
      value = std::move(found->second);
      arguments.keywords.erase(found);
    }
    return value;
  };
  for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
    const auto& [symbol, default_value] = macro.parameters[i];
    const StringRef& name = program_.name(symbol);
    std::optional<Value> given =
        i < arguments.positional.size() ? std::optional<Value>(arguments.positional[i]) : take_keyword(name->text);
    if (!given && default_value == nullptr) {
      given = Value(Undefined{name, "parameter '{}' was not provided"});
    }
    set(symbol, given ? *std::move(given) : evaluate(default_value));
  }
  if (!arguments.keywords.empty() || arguments.positional.size() > macro.parameters.size()) {
    heap_.fail(fmt::format("macro '{}' gets arguments that it does not take", program_.name(macro.symbol)->text));
  }
}

}  // namespace coppice::jinja
