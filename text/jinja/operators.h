// Python's operators on values: arithmetic, comparison, membership, iteration, attributes and items. Integers are 64
// bits with checked arithmetic: leaving that range is an error, never a wrong number.
#pragma once

#include <optional>
#include <vector>

#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::jinja {

// ERRORS of all: types that do not fit; kResourceExhausted on overflow and beyond limits.

enum class BinaryOperator : std::uint8_t { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo };
Value binary_operation(Heap& heap, BinaryOperator operation, const Value& left, const Value& right);
// -value and +value.
Value signed_value(Heap& heap, const Value& value, bool negative);

enum class Comparison : std::uint8_t { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };
bool compare(Heap& heap, Comparison comparison, const Value& left, const Value& right);
// left == right. Steps are charged; nesting beyond value_depth_max fails.
bool equal(Heap& heap, const Value& left, const Value& right, int depth = 0);
// left < right, for numbers, strings, lists and tuples.
bool less(Heap& heap, const Value& left, const Value& right, int depth = 0);
// item in container.
bool contains(Heap& heap, const Value& container, const Value& item);
// Whether two keys are the same key of a dict.
bool same_key(const Value& left, const Value& right);

// Python's iter(value): items one by one. Strings are shared by the iteration, objects live as long as the heap.
Iterator::Next iterate(Heap& heap, const Value& value);
// list(value).
std::vector<Value> collect(Heap& heap, const Value& value);

// object.name: a method, an attribute, or else an item. Undefined when there is none.
Value get_attribute(Heap& heap, const Value& object, const StringRef& name);
// object[key]: an item, or else an attribute. Undefined when there is none.
Value get_item(Heap& heap, const Value& object, const Value& key);
// object[start:stop:step], each of the three may be none.
Value get_slice(Heap& heap, const Value& object, const Value& start, const Value& stop, const Value& step);

}  // namespace coppice::jinja
