// Arithmetic, equality, order and membership.
#include "text/jinja/operators.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include <fmt/format.h>

#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::jinja {
namespace {

Value fail_types(Heap& heap, BinaryOperator operation, const Value& left, const Value& right) {
  static constexpr std::array<std::string_view, 6> kNames = {"+", "-", "*", "/", "//", "%"};
  if (left.is_undefined() || right.is_undefined()) {
    return heap.fail(undefined_problem(left.is_undefined() ? left : right));
  }
  if (left.is_large() || right.is_large()) {
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
  if (operation >= BinaryOperator::kDivide) {
    return integer_division(heap, operation, left, right);
  }
  std::int64_t result = 0;
  const bool overflows = operation == BinaryOperator::kAdd        ? __builtin_add_overflow(left, right, &result)
                         : operation == BinaryOperator::kSubtract ? __builtin_sub_overflow(left, right, &result)
                                                                  : __builtin_mul_overflow(left, right, &result);
  return overflows ? heap.fail_overflow() : Value(result);
}

Value real_operation(Heap& heap, BinaryOperator operation, double left, double right) {
  if (operation > BinaryOperator::kDivide) {
    return heap.fail("'//' and '%' of floats are not supported in chat templates");
  }
  if (operation == BinaryOperator::kDivide) {
    return right == 0.0 ? heap.fail("division by zero") : Value(left / right);
  }
  return Value(operation == BinaryOperator::kAdd        ? left + right
               : operation == BinaryOperator::kSubtract ? left - right
                                                        : left * right);
}

// "ab" * 3.
Value repeated(Heap& heap, const StringRef& string, std::int64_t count) {
  TextBuilder text(heap);
  for (; count > 0 && !string->text.empty() && !heap.budget().failed(); --count) {
    text.append(string->text);
  }
  return text.finish(string->markup);
}

Value add_strings(Heap& heap, const StringRef& left, const StringRef& right) {
  const bool markup = left->markup || right->markup;
  TextBuilder text(heap);
  for (const StringRef& part : {left, right}) {
    if (markup && !part->markup) {
      append_escaped(text, part->text);
    } else {
      text.append(part->text);
    }
  }
  return text.finish(markup);
}

Value add_sequences(Heap& heap, const Value& left, const Value& right) {
  auto& result = heap.make<Sequence>(left.object()->kind);
  for (const Value& part : {left, right}) {
    for (std::size_t i = 0; i < items_of(part).size() && heap.push(result, items_of(part)[i]); ++i) {
    }
  }
  return Value(&result);
}

// Wide enough to hold every int64 and double exactly on x86-64 and AArch64. An integer beyond is rounded: it still
// lies on its side of all of those.
long double exact(const Value& value) {
  if (value.is_large()) {
    return std::strtold(value.digits().c_str(), nullptr);
  }
  return value.is_real() ? static_cast<long double>(value.as_real()) : static_cast<long double>(value.integer());
}

// REQUIRES: both are large integers.
bool less_large(const std::string& left, const std::string& right) {
  const bool negative = left.front() == '-';
  if (negative != (right.front() == '-')) {
    return negative;
  }
  const bool shorter = left.size() != right.size() ? left.size() < right.size() : left < right;
  return left != right && shorter != negative;
}

bool charge_comparison(Heap& heap, const Value& left, const Value& right, int depth) {
  const bool texts = left.is_string() && right.is_string();
  return heap.budget().check_value_depth(depth) &&
         heap.budget().charge_copy(texts ? std::min(left.text().size(), right.text().size()) : 0);
}

bool equal_dicts(Heap& heap, Dictionary& left, Dictionary& right, int depth) {
  return left.entries.size() == right.entries.size() &&
         std::all_of(left.entries.begin(), left.entries.end(), [&](const auto& entry) {
           const Value* const found = right.find(heap.budget(), entry.first);
           return found != nullptr && equal(heap, entry.second, *found, depth + 1);
         });
}

// item in container.
bool contains(Heap& heap, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) {
      heap.fail(fmt::format("'in <string>' requires a string, not '{}'", type_name(item)));
      return false;
    }
    return find_text(heap.budget(), container.text(), item.text(), 0) != std::string_view::npos;
  }
  if (container.is_dict()) {
    if (item.is_object()) {
      heap.fail_type("a dict key must be a string, a number or none in chat templates", item);
    }
    return as_dict(container).find(heap.budget(), item) != nullptr;
  }
  const Iterator::Next next = iterate(heap, container);
  while (const std::optional<Value> candidate = next()) {
    if (equal(heap, *candidate, item)) {
      return true;
    }
  }
  return false;
}

}  // namespace

Value binary_operation(Heap& heap, BinaryOperator operation, const Value& left, const Value& right) {
  const bool adds = operation == BinaryOperator::kAdd;
  if (left.is_integral() && right.is_integral()) {
    return integer_operation(heap, operation, left.integer(), right.integer());
  }
  if (left.is_number() && right.is_number() && !left.is_large() && !right.is_large()) {
    return real_operation(heap, operation, left.as_real(), right.as_real());
  }
  if (operation == BinaryOperator::kModulo && left.is_string()) {
    return format_percent(heap, left.string(), right);
  }
  if (adds && left.is_string() && right.is_string()) {
    return add_strings(heap, left.string(), right.string());
  }
  if (adds && (left.is(ObjectKind::kList) || left.is(ObjectKind::kTuple)) && right.is(left.object()->kind)) {
    return add_sequences(heap, left, right);
  }
  if (operation == BinaryOperator::kMultiply && left.is_string() && right.is_integral()) {
    return repeated(heap, left.string(), right.integer());
  }
  if (operation == BinaryOperator::kMultiply && left.is_integral() && right.is_string()) {
    return repeated(heap, right.string(), left.integer());
  }
  if (operation == BinaryOperator::kMultiply && (left.is_sequence() || right.is_sequence())) {
    return heap.fail("repeating a list is not supported in chat templates");
  }
  return fail_types(heap, operation, left, right);
}

Value signed_value(Heap& heap, const Value& value, bool negative) {
  if (value.is_integral()) {
    return integer_operation(heap, negative ? BinaryOperator::kSubtract : BinaryOperator::kAdd, 0, value.integer());
  }
  if (value.is_real() || (value.is_large() && !negative)) {
    return negative ? Value(-value.as_real()) : value;
  }
  return value.is_large() ? heap.fail_overflow() : heap.fail_type("a sign needs a number", value);
}

bool equal(Heap& heap, const Value& left, const Value& right, int depth) {
  if (!charge_comparison(heap, left, right, depth)) {
    return false;
  }
  if (!left.is_object() || !right.is_object()) {
    return same_key(left, right);
  }
  if (left.object() == right.object() || left.object()->kind != right.object()->kind) {
    return left.object() == right.object();
  }
  if (left.is_dict()) {
    return equal_dicts(heap, as_dict(left), as_dict(right), depth);
  }
  const bool comparable = left.is_indexable() && items_of(left).size() == items_of(right).size();
  std::size_t i = 0;
  while (comparable && i < items_of(left).size() && equal(heap, items_of(left)[i], items_of(right)[i], depth + 1)) {
    ++i;
  }
  return comparable && i == items_of(left).size();
}

bool same_key(const Value& left, const Value& right) {
  if (left.is_large() && right.is_large()) {
    return left.digits() == right.digits();
  }
  if (left.is_number() && right.is_number()) {
    return exact(left) == exact(right);
  }
  if (left.is_string() && right.is_string()) {
    return left.text() == right.text();
  }
  return (left.is_none() && right.is_none()) || (left.is_undefined() && right.is_undefined());
}

bool less(Heap& heap, const Value& left, const Value& right) {
  if (!charge_comparison(heap, left, right, 0)) {
    return false;
  }
  if (left.is_large() && right.is_large()) {
    return less_large(left.digits(), right.digits());
  }
  if (left.is_number() && right.is_number()) {
    return exact(left) < exact(right);
  }
  if (left.is_string() && right.is_string()) {
    return left.text() < right.text();  // the order of UTF-8 bytes is the order of code points
  }
  const Value& wrong = right.is_undefined() ? right : left;
  heap.fail(wrong.is_undefined() ? undefined_problem(wrong)
                                 : fmt::format("ordering a '{}' and a '{}' is not supported in chat templates",
                                               type_name(left), type_name(right)));
  return false;
}

bool compare(Heap& heap, Comparison comparison, const Value& left, const Value& right) {
  if (comparison <= Comparison::kNotEqual) {
    return equal(heap, left, right) == (comparison == Comparison::kEqual);
  }
  if (comparison >= Comparison::kIn) {
    return contains(heap, right, left) == (comparison == Comparison::kIn);
  }
  const auto is_nan = [](const Value& value) { return value.is_real() && std::isnan(value.as_real()); };
  const bool negated = comparison == Comparison::kLessEqual || comparison == Comparison::kGreaterEqual;
  const bool swapped = comparison == Comparison::kLessEqual || comparison == Comparison::kGreater;
  const bool is_less = swapped ? less(heap, right, left) : less(heap, left, right);
  return negated ? !is_less && !is_nan(left) && !is_nan(right) : is_less;
}

}  // namespace coppice::jinja
