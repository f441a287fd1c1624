// Arithmetic on numbers, and what + * % mean for strings and sequences.
#include <array>

#include <fmt/format.h>

#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"

namespace coppice::jinja {
namespace {

Value fail_types(Heap& heap, BinaryOperator operation, const Value& left, const Value& right) {
  static constexpr std::array<std::string_view, 6> kNames = {"+", "-", "*", "/", "//", "%"};
  if (left.is_undefined() || right.is_undefined()) {
    return heap.fail(undefined_problem(left.is_undefined() ? left : right));
  }
  if (left.is_unsigned() || right.is_unsigned()) {
    return heap.fail_overflow();
  }
  return heap.fail(fmt::format("unsupported operand types for {}: '{}' and '{}'",
                               kNames[static_cast<std::size_t>(operation)], type_name(left), type_name(right)));
}

// Python rounds quotients down, and a remainder has the divisor's sign.
Value integer_division(Heap& heap, BinaryOperator operation, std::int64_t left, std::int64_t right) {
  if (right == 0) {
    return heap.fail("division by zero");
  }
  if (operation == BinaryOperator::kDivide) {
    return Value(static_cast<double>(static_cast<long double>(left) / static_cast<long double>(right)));
  }
  if (right == -1) {  // the one quotient that can overflow
    return operation == BinaryOperator::kModulo ? Value(std::int64_t{0}) : signed_value(heap, Value(left), true);
  }
  std::int64_t quotient = left / right;
  std::int64_t remainder = left % right;
  if (remainder != 0 && (remainder < 0) != (right < 0)) {
    remainder += right;
    --quotient;
  }
  return Value(operation == BinaryOperator::kModulo ? remainder : quotient);
}

Value integer_operation(Heap& heap, BinaryOperator operation, std::int64_t left, std::int64_t right) {
  std::int64_t result = 0;
  bool overflows = false;
  switch (operation) {
    case BinaryOperator::kAdd:
      overflows = __builtin_add_overflow(left, right, &result);
      break;
    case BinaryOperator::kSubtract:
      overflows = __builtin_sub_overflow(left, right, &result);
      break;
    case BinaryOperator::kMultiply:
      overflows = __builtin_mul_overflow(left, right, &result);
      break;
    default:
      return integer_division(heap, operation, left, right);
  }
  return overflows ? heap.fail_overflow() : Value(result);
}

Value real_operation(Heap& heap, BinaryOperator operation, double left, double right) {
  switch (operation) {
    case BinaryOperator::kAdd:
      return Value(left + right);
    case BinaryOperator::kSubtract:
      return Value(left - right);
    case BinaryOperator::kMultiply:
      return Value(left * right);
    case BinaryOperator::kDivide:
      return right == 0.0 ? heap.fail("division by zero") : Value(left / right);
    default:
      return heap.fail("'//' and '%' of floats are not supported in chat templates");
  }
}

bool is_repeatable(const Value& value) {
  return value.is_string() || value.is(ObjectKind::kList) || value.is(ObjectKind::kTuple);
}

// "ab" * 3, [1] * 3.
Value repeat(Heap& heap, const Value& value, std::int64_t count) {
  const std::size_t size = value.is_string() ? value.text().size() : items_of(value).size() * sizeof(Value);
  const std::size_t times = count > 0 && size > 0 ? static_cast<std::size_t>(count) : 0;
  if (times > 0 && times > heap.limits().value_bytes_max / size) {
    heap.budget().fail_exhausted("a repeated string or list is too long");
  }
  if (!heap.budget().charge_text(size * times)) {
    return Value();
  }
  std::string text;
  std::vector<Value> items;
  for (std::size_t i = 0; i < times; ++i) {
    if (value.is_string()) {
      text += value.text();
    } else {
      items.insert(items.end(), items_of(value).begin(), items_of(value).end());
    }
  }
  return value.is_string() ? heap.string(std::move(text), value.string()->markup)
                           : heap.sequence(value.object()->kind, std::move(items));
}

Value add_strings(Heap& heap, const Value& left, const Value& right) {
  const bool markup = left.string()->markup || right.string()->markup;
  const auto part = [markup](const Value& value) {
    return markup && !value.string()->markup ? escape_html(value.text()) : value.text();
  };
  return heap.string(part(left) + part(right), markup);
}

Value add_sequences(Heap& heap, const Value& left, const Value& right) {
  std::vector<Value> items = items_of(left);
  items.insert(items.end(), items_of(right).begin(), items_of(right).end());
  return heap.budget().charge_text(items.size() * sizeof(Value)) ? heap.sequence(left.object()->kind, std::move(items))
                                                                 : Value();
}

}  // namespace

Value binary_operation(Heap& heap, BinaryOperator operation, const Value& left, const Value& right) {
  if (left.is_integral() && right.is_integral()) {
    return integer_operation(heap, operation, left.integer(), right.integer());
  }
  if (left.is_number() && right.is_number() && !left.is_unsigned() && !right.is_unsigned()) {
    return real_operation(heap, operation, left.as_real(), right.as_real());
  }
  if (operation == BinaryOperator::kModulo && left.is_string()) {
    return format_percent(heap, left, right);
  }
  if (operation == BinaryOperator::kAdd && left.is_string() && right.is_string()) {
    return add_strings(heap, left, right);
  }
  if (operation == BinaryOperator::kAdd && is_repeatable(left) && !left.is_string() && right.is(left.object()->kind)) {
    return add_sequences(heap, left, right);
  }
  if (operation == BinaryOperator::kMultiply && is_repeatable(left) && right.is_integral()) {
    return repeat(heap, left, right.integer());
  }
  if (operation == BinaryOperator::kMultiply && left.is_integral() && is_repeatable(right)) {
    return repeat(heap, right, left.integer());
  }
  return fail_types(heap, operation, left, right);
}

Value signed_value(Heap& heap, const Value& value, bool negative) {
  if (value.is_integral()) {
    return integer_operation(heap, negative ? BinaryOperator::kSubtract : BinaryOperator::kAdd, 0, value.integer());
  }
  if (value.is_real() || (value.is_unsigned() && !negative)) {
    return negative ? Value(-value.as_real()) : value;
  }
  return value.is_unsigned() ? heap.fail_overflow() : heap.fail_type("a sign needs a number", value);
}

}  // namespace coppice::jinja
