// The tests.
#include "text/jinja/tests.h"

#include <array>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::text {
namespace {

using TestResult = absl::StatusOr<bool>;
using Test = TestResult (*)(Heap& heap, const Value& value, const Arguments& arguments);

// A property of the value alone.
template <bool (*property)(const Value&)>
TestResult is_of_kind(Heap&, const Value& value, const Arguments& arguments) {
  COPPICE_RETURN_IF_ERROR(bind("test", arguments, {}).status());
  return property(value);
}

bool is_defined(const Value& value) {
  return !value.is_undefined();
}
bool is_undefined(const Value& value) {
  return value.is_undefined();
}
bool is_none(const Value& value) {
  return value.is_none();
}
bool is_boolean(const Value& value) {
  return value.is_boolean();
}
bool is_true(const Value& value) {
  return value.is_boolean() && value.boolean();
}
bool is_false(const Value& value) {
  return value.is_boolean() && !value.boolean();
}
bool is_integer(const Value& value) {
  return value.is_integer() || value.is_unsigned();
}
bool is_real(const Value& value) {
  return value.is_real();
}
bool is_number(const Value& value) {
  return value.is_number();
}
bool is_string(const Value& value) {
  return value.is_string();
}
bool is_mapping(const Value& value) {
  return value.is_dict();
}
bool is_escaped(const Value& value) {
  return value.is_string() && value.string()->markup;
}
bool is_callable(const Value& value) {
  return value.is_object(ObjectKind::kCallable) || value.is_undefined();
}
bool is_sequence(const Value& value) {
  return value.is_string() || value.is_list() || value.is_tuple() || value.is_dict() || value.is_undefined() ||
         value.is_object(ObjectKind::kRange);
}
bool is_iterable(const Value& value) {
  return is_sequence(value) || value.is_sequence() || value.is_object(ObjectKind::kIterator) ||
         value.is_object(ObjectKind::kLoop);
}

// value % divisor == remainder.
TestResult has_remainder(Heap& heap, const Value& value, const Value& divisor, std::int64_t remainder) {
  COPPICE_ASSIGN_OR_RETURN(Value rest, binary_operation(heap, BinaryOperator::kModulo, value, divisor));
  return equal(heap, rest, Value(remainder));
}

template <std::int64_t remainder>
TestResult has_parity(Heap& heap, const Value& value, const Arguments& arguments) {
  COPPICE_RETURN_IF_ERROR(bind("parity", arguments, {}).status());
  return has_remainder(heap, value, Value(std::int64_t{2}), remainder);
}

TestResult is_divisible(Heap& heap, const Value& value, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("divisibleby", arguments, {"num"}, 1));
  return has_remainder(heap, value, bound.at(0), 0);
}

template <Comparison comparison>
TestResult compares(Heap& heap, const Value& value, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("comparison", arguments, {"/other"}, 1));
  return compare(heap, comparison, value, bound.at(0));
}

TestResult is_in(Heap& heap, const Value& value, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("in", arguments, {"seq"}, 1));
  return contains(heap, bound.at(0), value);
}

// Python's "is". Strings and numbers are the same when they are equal and of one type, which is as near as a value
// without an address comes.
TestResult is_same(Heap&, const Value& value, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("sameas", arguments, {"other"}, 1));
  const Value& other = bound.at(0);
  if (value.is_object() || other.is_object()) {
    return value.is_object() && other.is_object() && value.object() == other.object();
  }
  return std::string_view(type_name(value)) == type_name(other) && same_key(value, other);
}

template <bool upper>
TestResult has_case(Heap& heap, const Value& value, const Arguments& arguments) {
  COPPICE_RETURN_IF_ERROR(bind("case", arguments, {}).status());
  COPPICE_ASSIGN_OR_RETURN(std::string text, to_text(heap, value));
  return is_cased_text(text, upper);
}

TestResult is_filter_name(Heap&, const Value& value, const Arguments&) {
  return value.is_string() && filter_exists(value.text());
}

TestResult is_test_name(Heap&, const Value& value, const Arguments&) {
  return value.is_string() && test_exists(value.text());
}

struct TestName {
  std::string_view name;
  Test test;
};
constexpr auto kTests = std::to_array<TestName>({
    {"defined", is_of_kind<is_defined>},
    {"undefined", is_of_kind<is_undefined>},
    {"none", is_of_kind<is_none>},
    {"boolean", is_of_kind<is_boolean>},
    {"true", is_of_kind<is_true>},
    {"false", is_of_kind<is_false>},
    {"integer", is_of_kind<is_integer>},
    {"float", is_of_kind<is_real>},
    {"number", is_of_kind<is_number>},
    {"string", is_of_kind<is_string>},
    {"mapping", is_of_kind<is_mapping>},
    {"sequence", is_of_kind<is_sequence>},
    {"iterable", is_of_kind<is_iterable>},
    {"callable", is_of_kind<is_callable>},
    {"escaped", is_of_kind<is_escaped>},
    {"odd", has_parity<1>},
    {"even", has_parity<0>},
    {"divisibleby", is_divisible},
    {"lower", has_case<false>},
    {"upper", has_case<true>},
    {"in", is_in},
    {"sameas", is_same},
    {"filter", is_filter_name},
    {"test", is_test_name},
    {"eq", compares<Comparison::kEqual>},
    {"==", compares<Comparison::kEqual>},
    {"equalto", compares<Comparison::kEqual>},
    {"ne", compares<Comparison::kNotEqual>},
    {"!=", compares<Comparison::kNotEqual>},
    {"lt", compares<Comparison::kLess>},
    {"<", compares<Comparison::kLess>},
    {"lessthan", compares<Comparison::kLess>},
    {"le", compares<Comparison::kLessEqual>},
    {"<=", compares<Comparison::kLessEqual>},
    {"gt", compares<Comparison::kGreater>},
    {">", compares<Comparison::kGreater>},
    {"greaterthan", compares<Comparison::kGreater>},
    {"ge", compares<Comparison::kGreaterEqual>},
    {">=", compares<Comparison::kGreaterEqual>},
});

Test find_test(std::string_view name) {
  for (const TestName& entry : kTests) {
    if (entry.name == name) {
      return entry.test;
    }
  }
  return nullptr;
}

}  // namespace

bool test_exists(std::string_view name) {
  return find_test(name) != nullptr;
}

absl::StatusOr<bool> apply_test(Heap& heap, std::string_view name, const Value& value, const Arguments& arguments) {
  const Test test = find_test(name);
  if (test == nullptr) {
    return template_error(fmt::format("no test named '{}'", name));
  }
  return test(heap, value, arguments);
}

}  // namespace coppice::text
