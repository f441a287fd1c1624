// The tests: what may stand after "is".
#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"

namespace coppice::jinja {
namespace {

// A property of the value alone.
template <bool (*property)(const Value&)>
Value holds(Heap&, const Value& value, const Bound&) {
  return Value(property(value));
}
template <bool (Value::*property)() const>
Value is_kind(Heap&, const Value& value, const Bound&) {
  return Value((value.*property)());
}

bool is_defined(const Value& value) {
  return !value.is_undefined();
}
bool is_true(const Value& value) {
  return value.is_boolean() && value.integer() != 0;
}
bool is_false(const Value& value) {
  return value.is_boolean() && value.integer() == 0;
}
bool is_integer(const Value& value) {
  return value.is_integer() || value.is_unsigned();
}
bool is_callable(const Value& value) {
  return value.is(ObjectKind::kCallable) || value.is_undefined();
}
bool is_sequence(const Value& value) {
  return value.is_string() || value.is_indexable() || value.is_dict() || value.is_undefined();
}
bool is_iterable(const Value& value) {
  return is_sequence(value) || value.is_sequence() || value.is(ObjectKind::kIterator) || value.is(ObjectKind::kLoop);
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

// Python's "is". Strings and numbers are the same when they are equal and of one type, which is as near as a value
// without an address comes.
Value is_same(Heap&, const Value& value, const Bound& arguments) {
  const Value& other = arguments.at(0);
  if (value.is_object() && other.is_object()) {
    return Value(value.object() == other.object());
  }
  return Value(type_name(value) == type_name(other) && same_key(value, other));
}

constexpr auto kTests = std::to_array<Builtin>({
    {"defined", holds<is_defined>},
    {"undefined", is_kind<&Value::is_undefined>},
    {"none", is_kind<&Value::is_none>},
    {"boolean", is_kind<&Value::is_boolean>},
    {"true", holds<is_true>},
    {"false", holds<is_false>},
    {"integer", holds<is_integer>},
    {"float", is_kind<&Value::is_real>},
    {"number", is_kind<&Value::is_number>},
    {"string", is_kind<&Value::is_string>},
    {"mapping", is_kind<&Value::is_dict>},
    {"sequence", holds<is_sequence>},
    {"iterable", holds<is_iterable>},
    {"callable", holds<is_callable>},
    {"odd", has_parity<1>},
    {"even", has_parity<0>},
    {"divisibleby", is_divisible, {"num"}, 1},
    {"in", compares<Comparison::kIn>, {"seq"}, 1},
    {"sameas", is_same, {"other"}, 1},
    {"eq", compares<Comparison::kEqual>, {"other"}, 1},
    {"==", compares<Comparison::kEqual>, {"other"}, 1},
    {"equalto", compares<Comparison::kEqual>, {"other"}, 1},
    {"ne", compares<Comparison::kNotEqual>, {"other"}, 1},
    {"!=", compares<Comparison::kNotEqual>, {"other"}, 1},
    {"lt", compares<Comparison::kLess>, {"other"}, 1},
    {"<", compares<Comparison::kLess>, {"other"}, 1},
    {"lessthan", compares<Comparison::kLess>, {"other"}, 1},
    {"le", compares<Comparison::kLessEqual>, {"other"}, 1},
    {"<=", compares<Comparison::kLessEqual>, {"other"}, 1},
    {"gt", compares<Comparison::kGreater>, {"other"}, 1},
    {">", compares<Comparison::kGreater>, {"other"}, 1},
    {"greaterthan", compares<Comparison::kGreater>, {"other"}, 1},
    {"ge", compares<Comparison::kGreaterEqual>, {"other"}, 1},
    {">=", compares<Comparison::kGreaterEqual>, {"other"}, 1},
});

}  // namespace

const Builtin* find_test(std::string_view name) {
  return find_in(kTests, name);
}

}  // namespace coppice::jinja
