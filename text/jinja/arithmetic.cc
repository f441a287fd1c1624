// Arithmetic on numbers, and what + * % mean for strings and sequences.
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/operators.h"
#include "text/jinja/printf_format.h"
#include "text/jinja/text_form.h"

namespace coppice::text {
namespace {

constexpr std::string_view kOperatorNames[] = {"+", "-", "*", "/", "//", "%", "**"};

absl::Status overflow() {
  return absl::ResourceExhaustedError("an integer leaves the 64-bit range");
}

absl::Status type_mismatch(BinaryOperator operation, const Value& left, const Value& right) {
  for (const Value* side : {&left, &right}) {
    if (side->is_undefined()) {
      return undefined_error(*side);
    }
  }
  if (left.is_unsigned() || right.is_unsigned()) {
    return overflow();
  }
  return template_error(fmt::format("unsupported operand types for {}: '{}' and '{}'",
                                    kOperatorNames[static_cast<std::size_t>(operation)], type_name(left),
                                    type_name(right)));
}

Result integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) {
      return template_error("0 cannot be raised to a negative power");
    }
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  std::int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      return overflow();
    }
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
      return overflow();
    }
  }
  return Value(result);
}

// Python rounds quotients down, and a remainder has the divisor's sign.
Result integer_division(BinaryOperator operation, std::int64_t left, std::int64_t right) {
  if (right == 0) {
    return template_error("division by zero");
  }
  if (operation == BinaryOperator::kDivide) {
    return Value(static_cast<double>(static_cast<long double>(left) / static_cast<long double>(right)));
  }
  if (right == -1) {  // the one quotient that can overflow
    if (operation == BinaryOperator::kModulo) {
      return Value(std::int64_t{0});
    }
    return left == std::numeric_limits<std::int64_t>::min() ? Result(overflow()) : Result(Value(-left));
  }
  std::int64_t quotient = left / right;
  std::int64_t remainder = left % right;
  if (remainder != 0 && (remainder < 0) != (right < 0)) {
    remainder += right;
    --quotient;
  }
  return Value(operation == BinaryOperator::kModulo ? remainder : quotient);
}

Result integer_operation(BinaryOperator operation, std::int64_t left, std::int64_t right) {
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
    case BinaryOperator::kPower:
      return integer_power(left, right);
    default:
      return integer_division(operation, left, right);
  }
  return overflows ? Result(overflow()) : Result(Value(result));
}

Result real_division(BinaryOperator operation, double left, double right) {
  if (right == 0.0) {
    return template_error("division by zero");
  }
  if (operation == BinaryOperator::kDivide) {
    return Value(left / right);
  }
  // As in CPython's float_divmod: the remainder takes the divisor's sign, the quotient follows it.
  double remainder = std::fmod(left, right);
  double exact = (left - remainder) / right;
  if (remainder == 0.0) {
    remainder = std::copysign(0.0, right);
  } else if ((right < 0) != (remainder < 0)) {
    remainder += right;
    exact -= 1.0;
  }
  if (operation == BinaryOperator::kModulo) {
    return Value(remainder);
  }
  if (exact == 0.0) {
    return Value(std::copysign(0.0, left / right));
  }
  const double quotient = std::floor(exact);
  return Value(exact - quotient > 0.5 ? quotient + 1.0 : quotient);
}

Result real_power(double base, double exponent) {
  if (base == 0.0 && exponent < 0.0) {
    return template_error("0.0 cannot be raised to a negative power");
  }
  if (base < 0.0 && std::isfinite(base) && std::isfinite(exponent) && exponent != std::floor(exponent)) {
    return template_error("a negative number raised to a fraction is complex");
  }
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent)) {
    return template_error("the result of ** is too large");
  }
  return Value(result);
}

Result real_operation(BinaryOperator operation, double left, double right) {
  switch (operation) {
    case BinaryOperator::kAdd:
      return Value(left + right);
    case BinaryOperator::kSubtract:
      return Value(left - right);
    case BinaryOperator::kMultiply:
      return Value(left * right);
    case BinaryOperator::kPower:
      return real_power(left, right);
    default:
      return real_division(operation, left, right);
  }
}

// "ab" * 3, [1] * 3.
Result repeat(Heap& heap, const Value& value, std::int64_t count) {
  const auto times = static_cast<std::size_t>(std::max<std::int64_t>(count, 0));
  if (value.is_string()) {
    const std::string& text = value.text();
    if (!text.empty() && times > heap.limits().value_bytes_max / text.size()) {
      return absl::ResourceExhaustedError("a repeated string is too long");
    }
    COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(text.size() * times));
    std::string result;
    result.reserve(text.size() * times);
    for (std::size_t i = 0; i < times && !text.empty(); ++i) {
      result += text;
    }
    return heap.string(std::move(result), value.string()->markup);
  }
  const std::vector<Value>& items = as_sequence(value).items;
  if (!items.empty() && times > heap.limits().value_bytes_max / (items.size() * sizeof(Value))) {
    return absl::ResourceExhaustedError("a repeated list is too long");
  }
  COPPICE_RETURN_IF_ERROR(heap.budget().charge(static_cast<std::int64_t>(items.size() * times)));
  std::vector<Value> result;
  result.reserve(items.size() * times);
  for (std::size_t i = 0; i < times && !items.empty(); ++i) {
    result.insert(result.end(), items.begin(), items.end());
  }
  return heap.sequence(value.object()->kind, std::move(result));
}

Result add_strings(Heap& heap, const Value& left, const Value& right) {
  const bool markup = left.string()->markup || right.string()->markup;
  const auto part = [markup](const Value& value) {
    return markup && !value.string()->markup ? escape_html(value.text()) : value.text();
  };
  COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(left.text().size() + right.text().size()));
  return heap.string(part(left) + part(right), markup);
}

bool repeatable(const Value& value) {
  return value.is_string() || value.is_list() || value.is_tuple();
}

}  // namespace

Result binary_operation(Heap& heap, BinaryOperator operation, const Value& left, const Value& right) {
  if (left.is_integral() && right.is_integral()) {
    return integer_operation(operation, left.integer(), right.integer());
  }
  if (left.is_number() && right.is_number() && !left.is_unsigned() && !right.is_unsigned()) {
    return real_operation(operation, left.as_real(), right.as_real());
  }
  if (operation == BinaryOperator::kModulo && left.is_string()) {
    return format_printf(heap, left, right);
  }
  if (operation == BinaryOperator::kAdd) {
    if (left.is_string() && right.is_string()) {
      return add_strings(heap, left, right);
    }
    if ((left.is_list() && right.is_list()) || (left.is_tuple() && right.is_tuple())) {
      std::vector<Value> items = as_sequence(left).items;
      const std::vector<Value>& more = as_sequence(right).items;
      COPPICE_RETURN_IF_ERROR(heap.budget().charge(static_cast<std::int64_t>((items.size() + more.size()) / 8)));
      items.insert(items.end(), more.begin(), more.end());
      return heap.sequence(left.object()->kind, std::move(items));
    }
  }
  if (operation == BinaryOperator::kMultiply) {
    if (repeatable(left) && right.is_integral()) {
      return repeat(heap, left, right.integer());
    }
    if (left.is_integral() && repeatable(right)) {
      return repeat(heap, right, left.integer());
    }
  }
  return type_mismatch(operation, left, right);
}

Result unary_minus(const Value& value) {
  if (value.is_integral()) {
    return integer_operation(BinaryOperator::kSubtract, 0, value.integer());
  }
  if (value.is_real()) {
    return Value(-value.real());
  }
  return value.is_undefined() ? undefined_error(value)
                              : template_error(fmt::format("bad operand type for unary -: '{}'", type_name(value)));
}

Result unary_plus(const Value& value) {
  if (value.is_boolean()) {
    return Value(value.integer());
  }
  if (value.is_number()) {
    return value;
  }
  return value.is_undefined() ? undefined_error(value)
                              : template_error(fmt::format("bad operand type for unary +: '{}'", type_name(value)));
}

}  // namespace coppice::text
