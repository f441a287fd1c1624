// Scopes: looking variables up and setting them.
#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/globals.h"
#include "text/jinja/operators.h"

namespace coppice::text {

void Scope::set(SymbolId symbol, Value value) {
  for (auto& [existing, slot] : variables) {
    if (existing == symbol) {
      slot = std::move(value);
      return;
    }
  }
  variables.emplace_back(symbol, std::move(value));
}

Result Evaluator::lookup(SymbolId symbol, const StringRef& name) const {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    for (const auto& [existing, value] : scope->variables) {
      if (existing == symbol) {
        return value;
      }
    }
  }
  const std::optional<Value>& value = top_level_[static_cast<std::size_t>(symbol)];
  return value ? *value : Value(Undefined{name, Absence::kVariable});
}

absl::StatusOr<Scope*> Evaluator::new_scope(Scope* parent) {
  COPPICE_RETURN_IF_ERROR(heap_.budget().reserve(sizeof(Scope) + 4 * sizeof(Value)));
  scopes_.emplace_back();
  scopes_.back().parent = parent;
  return &scopes_.back();
}

absl::Status Evaluator::assign(const Target& target, Value value) {
  if (target.is_tuple) {
    COPPICE_ASSIGN_OR_RETURN(std::vector<Value> items, collect(heap_, value));
    if (items.size() != target.elements.size()) {
      return template_error(
          fmt::format("{} values are unpacked into {} variables", items.size(), target.elements.size()));
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
      COPPICE_RETURN_IF_ERROR(assign(target.elements[i], std::move(items[i])));
    }
    return absl::OkStatus();
  }
  if (target.attribute != nullptr) {
    return assign_attribute(target, std::move(value));
  }
  if (scope_ == nullptr) {
    top_level_[static_cast<std::size_t>(target.symbol)] = std::move(value);
  } else {
    scope_->set(target.symbol, std::move(value));
  }
  return absl::OkStatus();
}

absl::Status Evaluator::assign_attribute(const Target& target, Value value) {
  COPPICE_ASSIGN_OR_RETURN(Value object, lookup(target.symbol, target.name));
  if (!object.is_object(ObjectKind::kNamespace)) {
    return template_error(fmt::format("'{}' is no namespace: its attributes cannot be set", target.name->text));
  }
  COPPICE_RETURN_IF_ERROR(check_namespace_name(target.attribute->text));
  return heap_.assign(*static_cast<Namespace*>(object.object())->attributes, Value(target.attribute), std::move(value));
}

absl::Status Evaluator::define_globals(const std::tm& now) {
  COPPICE_ASSIGN_OR_RETURN(auto globals, make_globals(heap_, now));
  for (auto& [name, value] : globals) {
    for (std::size_t i = 0; i < program_.symbols.size(); ++i) {
      if (program_.symbols[i]->text == name) {
        top_level_[i] = value;
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Evaluator::define_variables(const nlohmann::ordered_json& context, const std::tm& now) {
  if (!context.is_object()) {
    return template_error("the context of a chat template must be a JSON object");
  }
  top_level_.assign(program_.symbols.size(), std::nullopt);
  COPPICE_RETURN_IF_ERROR(define_globals(now));
  for (std::size_t i = 0; i < program_.symbols.size(); ++i) {
    const auto found = context.find(program_.symbols[i]->text);
    if (found != context.end()) {
      COPPICE_ASSIGN_OR_RETURN(top_level_[i], heap_.from_json(*found));
    }
  }
  return absl::OkStatus();
}

}  // namespace coppice::text
