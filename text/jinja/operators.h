// Python's operators on values: arithmetic, comparison, membership, iteration, attributes and items. Integers are 64
// bits with checked arithmetic: leaving that range is an error, never a wrong number.
#pragma once

#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::jinja {

// ERRORS of all: types that do not fit; kResourceExhausted on overflow and beyond limits.

enum class BinaryOperator : std::uint8_t { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo };
Value binary_operation(Heap& heap, BinaryOperator operation, const Value& left, const Value& right);
// Returns -value or +value.
Value signed_value(Heap& heap, const Value& value, bool negative);

enum class Comparison : std::uint8_t { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };
bool compare(Heap& heap, Comparison comparison, const Value& left, const Value& right);
// Returns left == right. ERRORS: nesting beyond value_depth_max.
bool equal(Heap& heap, const Value& left, const Value& right, int depth = 0);
// Returns left < right, for numbers and strings.
bool less(Heap& heap, const Value& left, const Value& right);
// Returns whether two keys are the same key of a dict.
bool same_key(const Value& left, const Value& right);

// Python's iter(value): items one by one. Strings are shared by the iteration, objects live as long as the heap.
Iterator::Next iterate(Heap& heap, const Value& value);
// Returns the items of `value` as a sequence: `value` itself, or a list of what it iterates over.
Value collected(Heap& heap, const Value& value);

// The `loop` variable of a for. Looks ahead only when asked to, as jinja2's LoopContext does. Owner: the heap.
class LoopState : public Object {
 public:
  explicit LoopState(Iterator::Next next) : Object(ObjectKind::kLoop), next_(std::move(next)) {}

  // Takes the next item into current(). Returns false at the end.
  bool advance();
  const Value& current() const { return current_; }
  // Returns loop.name, or nothing when loop has no such attribute.
  std::optional<Value> attribute(Heap& heap, std::string_view name);
  // Ends the iteration: what a template has kept of the loop gives no more items.
  void finish();

 private:
  const std::optional<Value>& peek();
  std::int64_t length(Heap& heap);

  Iterator::Next next_;
  std::optional<std::int64_t> length_;
  bool peeked_ = false;
  std::optional<Value> after_;  // meaningful when peeked_; empty at the end
  Value current_;
  Value before_;
  std::int64_t index0_ = -1;
};

// Returns object.name: a method, an attribute, or else an item; undefined when there is none.
Value get_attribute(Heap& heap, const Value& object, const StringRef& name);
// Returns object[key]: an item, or else an attribute; undefined when there is none.
Value get_item(Heap& heap, const Value& object, const Value& key);
// Returns object[start:stop:step], each of the three may be none.
Value get_slice(Heap& heap, const Value& object, const Value& start, const Value& stop, const Value& step);

}  // namespace coppice::jinja
