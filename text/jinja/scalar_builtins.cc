// Filters that make numbers, default, and the tests: what may stand after "is".
#include <charconv>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "absl/strings/numbers.h"
#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace coppice::jinja {
namespace {

// `text` without blanks and a plus sign, as Python's int() and float() read it. ERRORS: digits that only Python reads.
std::string_view number_text(Heap& heap, std::string_view text) {
  text = heap.budget().charge_walk(text.size()) ? strip_right(strip_left(text)) : "";
  const bool only_python = text.find('_') != std::string_view::npos || code_point_count(text) != text.size();
  if (only_python && text.find_first_of("0123456789") != std::string_view::npos) {
    heap.fail("a number with '_' or digits beyond ASCII is not supported in chat templates");
  }
  return text.starts_with('+') && !text.starts_with("+-") ? text.substr(1) : text;
}

std::optional<double> parse_real(const std::string& text) {
  double value = 0;  // "nan(x)" is none in Python
  const bool parsed = text.find('(') == std::string::npos && absl::SimpleAtod(text, &value);
  return parsed ? std::optional<double>(value) : std::nullopt;
}

Value integer_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const Value otherwise = arguments.value(0, Value(std::int64_t{0}));
  if (input.is_integral() || input.is_large()) {
    return input.is_large() ? input : Value(input.integer());
  }
  std::optional<double> real;
  if (input.is_string()) {
    const std::string_view text = number_text(heap, input.text());
    std::int64_t integer = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), integer);
    if (!text.empty() && parsed.ptr == text.data() + text.size()) {
      return parsed.ec == std::errc() ? Value(integer) : heap.fail_overflow();
    }
    real = parse_real(std::string(text));
    real = real && std::isinf(*real) ? std::nullopt : real;
  } else if (input.is_real()) {
    real = input.as_real();
  } else if (input.is_undefined()) {
    return heap.fail(undefined_problem(input));
  }
  if (!real || std::isnan(*real)) {
    return otherwise;
  }
  return std::fabs(*real) < 0x1p63 ? Value(static_cast<std::int64_t>(*real)) : heap.fail_overflow();
}

Value real_filter(Heap& heap, const Value& input, const Bound& arguments) {
  if (input.is_number()) {
    return Value(input.as_real());
  }
  if (input.is_undefined()) {
    return heap.fail(undefined_problem(input));
  }
  const std::optional<double> real =
      input.is_string() ? parse_real(std::string(number_text(heap, input.text()))) : std::nullopt;
  return real ? Value(*real) : arguments.value(0, Value(0.0));
}

Value round_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const std::int64_t precision = arguments.integer(heap, 0, 0);
  if (!input.is_number() || input.is_large()) {
    return heap.fail_type("round needs a number", input);
  }
  if (precision < 0 || precision > 300 || arguments.text(heap, 1, "common") != "common") {
    return heap.fail("this precision or method of round is not supported in chat templates");
  }
  if (input.is_integral()) {
    return Value(input.integer());
  }
  constexpr std::int64_t kRoundSteps = 200;  // hundreds of digits are written and read: some 20 us
  const double value = input.as_real();
  return heap.budget().charge(kRoundSteps) && std::isfinite(value)
             ? Value(*parse_real(fmt::format("{:.{}f}", value, precision)))
             : input;
}

Value absolute_filter(Heap& heap, const Value& input, const Bound&) {
  if (!input.is_number() || input.is_large()) {
    return heap.fail_type("abs needs a number", input);
  }
  return input.is_real() ? Value(std::fabs(input.as_real())) : signed_value(heap, input, input.integer() < 0);
}

Value default_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const bool missing = input.is_undefined() || (arguments.flag(1) && !truthy(input));
  return !missing ? input : arguments.has(0) ? arguments.at(0) : heap.string("");
}

constexpr auto kFilters = std::to_array<Builtin>({
    {"int", integer_filter, {"default"}},
    {"float", real_filter, {"default"}},
    {"round", round_filter, {"precision", "method"}},
    {"abs", absolute_filter},
    {"default", default_filter, {"default_value", "boolean"}},
    {"d", default_filter, {"default_value", "boolean"}},
});

// A property of the value alone.
template <auto property>
Value holds(Heap&, const Value& value, const Bound&) {
  return Value(std::invoke(property, value));
}

bool is_sequence(const Value& value) {
  return value.is_string() || value.is_indexable() || value.is_dict() || value.is_undefined();
}

// value % divisor == remainder.
Value has_remainder(Heap& heap, const Value& value, const Value& divisor, std::int64_t remainder) {
  const Value rest = binary_operation(heap, BinaryOperator::kModulo, value, divisor);
  return Value(equal(heap, rest, Value(remainder)));
}

template <std::int64_t remainder>
Value has_parity(Heap& heap, const Value& value, const Bound&) {
  return has_remainder(heap, value, Value(std::int64_t{2}), remainder);
}

Value is_divisible(Heap& heap, const Value& value, const Bound& arguments) {
  return has_remainder(heap, value, arguments.at(0), 0);
}

template <Comparison comparison>
Value compares(Heap& heap, const Value& value, const Bound& arguments) {
  return Value(compare(heap, comparison, value, arguments.at(0)));
}

constexpr auto kTests = std::to_array<Builtin>({
    {"defined", holds<[](const Value& value) { return !value.is_undefined(); }>},
    {"undefined", holds<&Value::is_undefined>},
    {"none", holds<&Value::is_none>},
    {"boolean", holds<&Value::is_boolean>},
    {"true", holds<[](const Value& value) { return value.is_boolean() && value.integer() != 0; }>},
    {"false", holds<[](const Value& value) { return value.is_boolean() && value.integer() == 0; }>},
    {"integer", holds<[](const Value& value) { return value.is_integer() || value.is_large(); }>},
    {"float", holds<&Value::is_real>},
    {"number", holds<&Value::is_number>},
    {"string", holds<&Value::is_string>},
    {"mapping", holds<&Value::is_dict>},
    {"sequence", holds<is_sequence>},
    {"iterable", holds<[](const Value& value) {
       return is_sequence(value) || value.is_sequence() || value.is(ObjectKind::kIterator) ||
              value.is(ObjectKind::kLoop);
     }>},
    {"odd", has_parity<1>},
    {"even", has_parity<0>},
    {"divisibleby", is_divisible, {"num"}, 1},
    {"in", compares<Comparison::kIn>, {"seq"}, 1},
    {"eq", compares<Comparison::kEqual>, {"other"}, 1},
    {"==", compares<Comparison::kEqual>, {"other"}, 1},
    {"equalto", compares<Comparison::kEqual>, {"other"}, 1},
    {"ne", compares<Comparison::kNotEqual>, {"other"}, 1},
    {"!=", compares<Comparison::kNotEqual>, {"other"}, 1},
    {"lt", compares<Comparison::kLess>, {"other"}, 1},
    {"<", compares<Comparison::kLess>, {"other"}, 1},
    {"le", compares<Comparison::kLessEqual>, {"other"}, 1},
    {"<=", compares<Comparison::kLessEqual>, {"other"}, 1},
    {"gt", compares<Comparison::kGreater>, {"other"}, 1},
    {">", compares<Comparison::kGreater>, {"other"}, 1},
    {"ge", compares<Comparison::kGreaterEqual>, {"other"}, 1},
    {">=", compares<Comparison::kGreaterEqual>, {"other"}, 1},
});

}  // namespace

BuiltinTable scalar_filters() {
  return kFilters;
}

const Builtin* find_test(std::string_view name) {
  return find_in(kTests, name);
}

}  // namespace coppice::jinja
