// Macros: making them, and binding the arguments of their calls as jinja2's Macro does.
#include <algorithm>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/evaluator.h"

namespace coppice::text {
namespace {

// Takes the keyword argument `name` out of the arguments.
std::optional<Value> take_keyword(Arguments& arguments, std::string_view name) {
  const auto found = std::find_if(arguments.keywords.begin(), arguments.keywords.end(),
                                  [name](const auto& keyword) { return keyword.first->text == name; });
  if (found == arguments.keywords.end()) {
    return std::nullopt;
  }
  Value value = std::move(found->second);
  arguments.keywords.erase(found);
  return value;
}

}  // namespace

Result Evaluator::make_macro(const MacroDefinition& definition) {
  for (Scope* scope = scope_; scope != nullptr && !scope->captured; scope = scope->parent) {
    scope->captured = true;
  }
  COPPICE_ASSIGN_OR_RETURN(
      Value value, heap_.callable(definition.name->text, [this, &definition, closure = scope_](Arguments& arguments) {
        return call_macro(definition, closure, arguments);
      }));
  auto& callable = static_cast<Callable&>(*value.object());
  callable.macro = true;
  for (const MacroParameter& parameter : definition.parameters) {
    callable.macro_arguments.push_back(parameter.name);
  }
  return value;
}

Result Evaluator::call_macro(const MacroDefinition& definition, Scope* closure, Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(Scope * scope, new_scope(closure));
  std::string text;
  Scope* const outer_scope = std::exchange(scope_, scope);
  std::string* const outer_output = std::exchange(output_, &text);
  absl::Status status = bind_macro(definition, scope, arguments);
  if (status.ok()) {
    status = execute(definition.body).status();
  }
  scope_ = outer_scope;
  output_ = outer_output;
  if (!scope->captured) {
    scope->variables.clear();  // gives the strings back
  }
  COPPICE_RETURN_IF_ERROR(status);
  return heap_.string(std::move(text));
}

// Positions, then names, then defaults (which may use the parameters before them), then undefined.
absl::Status Evaluator::bind_macro(const MacroDefinition& definition, Scope* scope, Arguments& arguments) {
  std::vector<std::optional<Value>> given(definition.parameters.size());
  for (std::size_t i = 0; i < given.size(); ++i) {
    given[i] = i < arguments.positional.size() ? std::optional<Value>(arguments.positional[i])
                                               : take_keyword(arguments, definition.parameters[i].name->text);
  }
  COPPICE_RETURN_IF_ERROR(bind_special(definition, scope, arguments));
  for (std::size_t i = 0; i < given.size(); ++i) {
    const MacroParameter& parameter = definition.parameters[i];
    if (!given[i] && parameter.default_value != nullptr) {
      COPPICE_ASSIGN_OR_RETURN(given[i], evaluate(*parameter.default_value));
    } else if (!given[i]) {
      COPPICE_ASSIGN_OR_RETURN(Value hint,
                               heap_.string(fmt::format("parameter '{}' was not provided", parameter.name->text)));
      given[i] = Value(Undefined{hint.string(), Absence::kHint});
    }
    scope->set(parameter.symbol, *std::move(given[i]));
  }
  return absl::OkStatus();
}

// caller, kwargs and varargs: what is left after the parameters, for macros whose bodies use them.
absl::Status Evaluator::bind_special(const MacroDefinition& definition, Scope* scope, Arguments& arguments) {
  const std::size_t count = definition.parameters.size();
  if (definition.uses_caller) {
    COPPICE_ASSIGN_OR_RETURN(Value hint, heap_.string("no caller is defined"));
    std::optional<Value> caller = take_keyword(arguments, "caller");
    scope->set(kCallerSymbol, caller ? *std::move(caller) : Value(Undefined{hint.string(), Absence::kHint}));
  }
  if (definition.uses_kwargs) {
    std::vector<std::pair<Value, Value>> entries;
    for (auto& [name, value] : arguments.keywords) {
      entries.emplace_back(Value(name), std::move(value));
    }
    COPPICE_ASSIGN_OR_RETURN(Value dict, heap_.dict(std::move(entries)));
    scope->set(kKwargsSymbol, std::move(dict));
  } else if (!arguments.keywords.empty()) {
    return template_error(fmt::format("macro '{}' takes no keyword argument '{}'", definition.name->text,
                                      arguments.keywords.front().first->text));
  }
  if (definition.uses_varargs) {
    std::vector<Value> rest;
    for (std::size_t i = count; i < arguments.positional.size(); ++i) {
      rest.push_back(arguments.positional[i]);
    }
    COPPICE_ASSIGN_OR_RETURN(Value tuple, heap_.tuple(std::move(rest)));
    scope->set(kVarargsSymbol, std::move(tuple));
  } else if (arguments.positional.size() > count) {
    return template_error(fmt::format("macro '{}' takes at most {} arguments", definition.name->text, count));
  }
  return absl::OkStatus();
}

}  // namespace coppice::text
