// Evaluating expressions.
#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/attributes.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/filters.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/tests.h"
#include "text/jinja/text_form.h"

namespace coppice::text {

Result Evaluator::evaluate(const Expression& expression) {
  COPPICE_RETURN_IF_ERROR(heap_.budget().charge(1));
  if (depth_ >= heap_.limits().evaluation_depth_max) {
    return absl::ResourceExhaustedError(
        fmt::format("evaluation is nested deeper than {} levels", heap_.limits().evaluation_depth_max));
  }
  ++depth_;
  Result result = std::visit([this](const auto& form) { return evaluate_form(form); }, expression.form);
  --depth_;
  if (!result.ok() && error_line_ == 0) {
    error_line_ = expression.line;
  }
  return result;
}

Result Evaluator::evaluate_or_none(ExpressionPointer expression) {
  return expression == nullptr ? Result(Value()) : evaluate(*expression);
}

absl::StatusOr<std::vector<Value>> Evaluator::evaluate_all(const std::vector<ExpressionPointer>& expressions) {
  std::vector<Value> values;
  values.reserve(expressions.size());
  for (const ExpressionPointer expression : expressions) {
    COPPICE_ASSIGN_OR_RETURN(Value value, evaluate(*expression));
    values.push_back(std::move(value));
  }
  return values;
}

Result Evaluator::evaluate_form(const TupleExpression& tuple) {
  COPPICE_ASSIGN_OR_RETURN(std::vector<Value> items, evaluate_all(tuple.items));
  return heap_.tuple(std::move(items));
}

Result Evaluator::evaluate_form(const ListExpression& list) {
  COPPICE_ASSIGN_OR_RETURN(std::vector<Value> items, evaluate_all(list.items));
  return heap_.list(std::move(items));
}

Result Evaluator::evaluate_form(const DictExpression& dict) {
  std::vector<std::pair<Value, Value>> entries;
  entries.reserve(dict.entries.size());
  for (const auto& [key_expression, value_expression] : dict.entries) {
    COPPICE_ASSIGN_OR_RETURN(Value key, evaluate(*key_expression));
    COPPICE_ASSIGN_OR_RETURN(Value value, evaluate(*value_expression));
    entries.emplace_back(std::move(key), std::move(value));
  }
  return heap_.dict(std::move(entries));
}

Result Evaluator::evaluate_form(const UnaryExpression& unary) {
  COPPICE_ASSIGN_OR_RETURN(Value operand, evaluate(*unary.operand));
  switch (unary.operation) {
    case UnaryOperator::kNot:
      return Value(!truthy(operand));
    case UnaryOperator::kNegate:
      return unary_minus(operand);
    case UnaryOperator::kPlus:
      break;
  }
  return unary_plus(operand);
}

Result Evaluator::evaluate_form(const BinaryExpression& binary) {
  COPPICE_ASSIGN_OR_RETURN(Value left, evaluate(*binary.left));
  COPPICE_ASSIGN_OR_RETURN(Value right, evaluate(*binary.right));
  return binary_operation(heap_, binary.operation, left, right);
}

Result Evaluator::evaluate_form(const LogicalExpression& logical) {
  COPPICE_ASSIGN_OR_RETURN(Value left, evaluate(*logical.left));
  if (truthy(left) != logical.conjunction) {
    return left;
  }
  return evaluate(*logical.right);
}

Result Evaluator::evaluate_form(const CompareExpression& comparison) {
  COPPICE_ASSIGN_OR_RETURN(Value left, evaluate(*comparison.first));
  for (const auto& [operation, expression] : comparison.rest) {
    COPPICE_ASSIGN_OR_RETURN(Value right, evaluate(*expression));
    COPPICE_ASSIGN_OR_RETURN(bool holds, compare(heap_, operation, left, right));
    if (!holds) {
      return Value(false);
    }
    left = std::move(right);
  }
  return Value(true);
}

Result Evaluator::evaluate_form(const ConcatenateExpression& concatenation) {
  std::string text;
  for (const ExpressionPointer part : concatenation.parts) {
    COPPICE_ASSIGN_OR_RETURN(Value value, evaluate(*part));
    COPPICE_ASSIGN_OR_RETURN(std::string piece, to_text(heap_, value));
    text += piece;
  }
  return heap_.string(std::move(text));
}

Result Evaluator::evaluate_form(const ConditionalExpression& conditional) {
  COPPICE_ASSIGN_OR_RETURN(Value condition, evaluate(*conditional.condition));
  if (truthy(condition)) {
    return evaluate(*conditional.when_true);
  }
  if (conditional.when_false != nullptr) {
    return evaluate(*conditional.when_false);
  }
  COPPICE_ASSIGN_OR_RETURN(Value hint, heap_.string("an inline if was false and has no else"));
  return Value(Undefined{hint.string(), Absence::kHint});
}

Result Evaluator::evaluate_form(const AttributeExpression& attribute) {
  COPPICE_ASSIGN_OR_RETURN(Value object, evaluate(*attribute.object));
  return get_attribute(heap_, object, attribute.name);
}

Result Evaluator::evaluate_form(const SubscriptExpression& subscript) {
  COPPICE_ASSIGN_OR_RETURN(Value object, evaluate(*subscript.object));
  COPPICE_ASSIGN_OR_RETURN(Value index, evaluate(*subscript.index));
  return get_item(heap_, object, index);
}

Result Evaluator::evaluate_form(const SliceExpression& slice) {
  COPPICE_ASSIGN_OR_RETURN(Value object, evaluate(*slice.object));
  COPPICE_ASSIGN_OR_RETURN(Value start, evaluate_or_none(slice.start));
  COPPICE_ASSIGN_OR_RETURN(Value stop, evaluate_or_none(slice.stop));
  COPPICE_ASSIGN_OR_RETURN(Value step, evaluate_or_none(slice.step));
  return get_slice(heap_, object, start, stop, step);
}

Result Evaluator::evaluate_form(const CallExpression& call) {
  return call_expression(call, nullptr);
}

Result Evaluator::evaluate_form(const FilterExpression& filter) {
  Value input = filter_input_;
  if (filter.input != nullptr) {
    COPPICE_ASSIGN_OR_RETURN(input, evaluate(*filter.input));
  }
  COPPICE_ASSIGN_OR_RETURN(Arguments arguments, evaluate_arguments(filter.arguments));
  return apply_filter(heap_, filter.name, input, arguments);
}

Result Evaluator::evaluate_form(const TestExpression& test) {
  COPPICE_ASSIGN_OR_RETURN(Value input, evaluate(*test.input));
  COPPICE_ASSIGN_OR_RETURN(Arguments arguments, evaluate_arguments(test.arguments));
  COPPICE_ASSIGN_OR_RETURN(bool passed, apply_test(heap_, test.name, input, arguments));
  return Value(passed);
}

absl::StatusOr<Arguments> Evaluator::evaluate_arguments(const CallArguments& arguments) {
  Arguments result;
  COPPICE_ASSIGN_OR_RETURN(result.positional, evaluate_all(arguments.positional));
  for (const auto& [name, expression] : arguments.keywords) {
    COPPICE_ASSIGN_OR_RETURN(Value value, evaluate(*expression));
    result.keywords.emplace_back(name, std::move(value));
  }
  if (arguments.spread_positional != nullptr) {
    COPPICE_ASSIGN_OR_RETURN(Value spread, evaluate(*arguments.spread_positional));
    COPPICE_ASSIGN_OR_RETURN(std::vector<Value> more, collect(heap_, spread));
    result.positional.insert(result.positional.end(), more.begin(), more.end());
  }
  if (arguments.spread_keywords != nullptr) {
    COPPICE_ASSIGN_OR_RETURN(Value spread, evaluate(*arguments.spread_keywords));
    COPPICE_RETURN_IF_ERROR(spread_keywords(spread, &result));
  }
  return result;
}

absl::Status Evaluator::spread_keywords(const Value& mapping, Arguments* arguments) {
  if (!mapping.is_dict()) {
    return template_error(fmt::format("** needs a dict, not '{}'", type_name(mapping)));
  }
  for (const auto& [key, value] : as_dict(mapping).entries) {
    COPPICE_RETURN_IF_ERROR(heap_.budget().charge(1));
    if (!key.is_string()) {
      return template_error("the keys of ** must be strings");
    }
    arguments->keywords.emplace_back(key.string(), value);
  }
  return absl::OkStatus();
}

Result Evaluator::call_expression(const CallExpression& call, const Value* caller) {
  Value callee;
  Value object;
  MethodLookup method;
  if (const auto* attribute = std::get_if<AttributeExpression>(&call.callee->form)) {
    COPPICE_ASSIGN_OR_RETURN(object, evaluate(*attribute->object));
    method = find_method(object, attribute->name->text);
    if (method.method == nullptr) {
      COPPICE_ASSIGN_OR_RETURN(callee, get_attribute(heap_, object, attribute->name));
    }
  } else {
    COPPICE_ASSIGN_OR_RETURN(callee, evaluate(*call.callee));
  }
  COPPICE_ASSIGN_OR_RETURN(Arguments arguments, evaluate_arguments(call.arguments));
  if (caller != nullptr) {
    arguments.keywords.emplace_back(program_.symbols[kCallerSymbol], *caller);
  }
  return method.method != nullptr ? method.method(heap_, object, arguments) : call_value(callee, arguments);
}

Result Evaluator::call_value(const Value& callee, Arguments& arguments) {
  if (callee.is_object(ObjectKind::kCallable)) {
    return static_cast<Callable*>(callee.object())->body(arguments);
  }
  return callee.is_undefined() ? undefined_error(callee)
                               : template_error(fmt::format("a '{}' cannot be called", type_name(callee)));
}

}  // namespace coppice::text
