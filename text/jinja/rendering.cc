// Evaluating, executing, variables and macros.
#include "text/jinja/rendering.h"

#include <algorithm>

#include <fmt/format.h>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"

namespace coppice::jinja {

void Scope::set(SymbolId symbol, Value value) {
  for (auto& [existing, slot] : variables) {
    if (existing == symbol) {
      slot = std::move(value);
      return;
    }
  }
  variables.emplace_back(symbol, std::move(value));
}

absl::StatusOr<std::string> Rendering::run(const nlohmann::ordered_json& context, const std::tm& now) {
  std::string text;
  output_ = &text;
  define_variables(context, now);
  execute(program_.body);
  return heap_.budget().failed() ? absl::StatusOr<std::string>(heap_.budget().status()) : text;
}

void Rendering::define_variables(const nlohmann::ordered_json& context, const std::tm& now) {
  if (!context.is_object()) {
    heap_.fail("the context of a chat template must be a JSON object");
    return;
  }
  const auto globals = make_globals(heap_, now);
  for (const StringRef& symbol : program_.symbols) {
    std::optional<Value>& value = top_level_.emplace_back();
    const auto given = context.find(symbol->text);
    const auto global = std::find_if(globals.begin(), globals.end(),
                                     [&symbol](const auto& function) { return function.first == symbol->text; });
    if (given != context.end()) {
      value = heap_.from_json(*given);
    } else if (global != globals.end()) {
      value = global->second;
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
  if (heap_.budget().charge_text(text.size())) {
    output_->append(text);
  }
}

Value Rendering::capture(const Block& block, Flow* flow) {
  std::string text;
  std::string* const outer = std::exchange(output_, &text);
  *flow = execute_in(block, new_scope());
  output_ = outer;
  return heap_.string(std::move(text));
}

Value Rendering::lookup(SymbolId symbol) const {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    for (const auto& [existing, value] : scope->variables) {
      if (existing == symbol) {
        return value;
      }
    }
  }
  const std::optional<Value>& value = top_level_[static_cast<std::size_t>(symbol)];
  return value ? *value : Value(Undefined{program_.name(symbol), kNoVariable});
}

Scope* Rendering::new_scope() {
  static_cast<void>(heap_.budget().reserve(sizeof(Scope) + 4 * sizeof(Value)));  // a failure stops the next charge
  scopes_.emplace_back().parent = scope_;
  return &scopes_.back();
}

void Rendering::assign(const Target& target, Value value) {
  if (target.is_tuple) {
    std::vector<Value> items = collect(heap_, value);
    if (items.size() != target.elements.size()) {
      heap_.fail(fmt::format("{} values are unpacked into {} variables", items.size(), target.elements.size()));
    }
    for (std::size_t i = 0; i < target.elements.size() && !heap_.budget().failed(); ++i) {
      assign(target.elements[i], std::move(items[i]));
    }
  } else if (target.attribute != nullptr) {
    const Value object = lookup(target.symbol);
    check_namespace_name(heap_, target.attribute->text);
    if (object.is(ObjectKind::kNamespace)) {
      heap_.assign(*static_cast<Namespace&>(*object.object()).attributes, Value(target.attribute), std::move(value));
    } else {
      heap_.fail(fmt::format("'{}' is no namespace: its attributes cannot be set", program_.name(target.symbol)->text));
    }
  } else if (scope_ != nullptr) {
    scope_->set(target.symbol, std::move(value));
  } else {
    top_level_[static_cast<std::size_t>(target.symbol)] = std::move(value);
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
  std::string text;
  std::string* const outer_output = std::exchange(output_, &text);
  Scope* const own = scope_ = new_scope();
  bind_macro(macro, arguments);
  execute(macro.body);
  if (!own->captured) {
    own->variables.clear();  // gives the strings back
  }
  scope_ = outer;
  output_ = outer_output;
  return heap_.string(std::move(text));
}

// Positions, then names, then defaults (which may use the parameters before them), then undefined.
void Rendering::bind_macro(const Macro& macro, Arguments& arguments) {
  const auto take_keyword = [&arguments](std::string_view name) {
    const auto found = std::find_if(arguments.keywords.begin(), arguments.keywords.end(),
                                    [name](const auto& keyword) { return keyword.first->text == name; });
    std::optional<Value> value;
    if (found != arguments.keywords.end()) {
      value = std::move(found->second);
      arguments.keywords.erase(found);
    }
    return value;
  };
  if (macro.uses_caller) {
    scope_->set(kCallerSymbol, take_keyword("caller").value_or(Value(Undefined{nullptr, "no caller is defined"})));
  }
  for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
    const auto& [symbol, default_value] = macro.parameters[i];
    const StringRef& name = program_.name(symbol);
    std::optional<Value> given =
        i < arguments.positional.size() ? std::optional<Value>(arguments.positional[i]) : take_keyword(name->text);
    if (!given && default_value == nullptr) {
      given = Value(Undefined{name, "parameter '{}' was not provided"});
    }
    scope_->set(symbol, given ? *std::move(given) : evaluate(default_value));
  }
  if (!arguments.keywords.empty() || arguments.positional.size() > macro.parameters.size()) {
    heap_.fail(fmt::format("macro '{}' gets arguments that it does not take", program_.name(macro.symbol)->text));
  }
}

}  // namespace coppice::jinja
