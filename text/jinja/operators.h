// Python's operators on values: arithmetic, comparison, membership, and iteration over anything that iterates.
// Integers are 64 bits with checked arithmetic: leaving that range is an error, never a wrong number.
#pragma once

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "text/jinja/ast.h"
#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::text {

// All fail with kInvalidArgument on types that do not fit, kResourceExhausted on overflow and beyond limits.
Result binary_operation(Heap& heap, BinaryOperator operation, const Value& left, const Value& right);
Result unary_minus(const Value& value);
Result unary_plus(const Value& value);

// left == right. Steps are charged; nesting beyond value_depth_max fails.
absl::StatusOr<bool> equal(Heap& heap, const Value& left, const Value& right);
// left < right, for numbers, strings, lists and tuples.
absl::StatusOr<bool> less(Heap& heap, const Value& left, const Value& right);
absl::StatusOr<bool> compare(Heap& heap, Comparison comparison, const Value& left, const Value& right);
// item in container.
absl::StatusOr<bool> contains(Heap& heap, const Value& container, const Value& item);

// Whether a value can be a dict key, and whether two keys are the same key.
bool hashable(const Value& value);
bool same_key(const Value& left, const Value& right);

// Python's iter(value): items one by one. `value` must outlive the use (it is on the heap or copied inside).
absl::StatusOr<Iterator::Next> iterate(Heap& heap, const Value& value);
// list(value).
absl::StatusOr<std::vector<Value>> collect(Heap& heap, const Value& value);
// len(value), if it has one.
std::optional<std::int64_t> length_of(const Value& value);

}  // namespace coppice::text
