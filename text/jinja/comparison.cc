// Equality, order and membership, and which dict keys are the same.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "text/jinja/operators.h"
#include "text/jinja/text_search.h"

namespace coppice::jinja {
namespace {

// Wide enough to hold every int64, uint64 and double exactly on x86-64 and AArch64.
long double exact(const Value& value) {
  if (value.is_unsigned()) {
    return static_cast<long double>(value.unsigned_integer());
  }
  return value.is_real() ? static_cast<long double>(value.as_real()) : static_cast<long double>(value.integer());
}

bool charge_comparison(Heap& heap, const Value& left, const Value& right, int depth) {
  const bool texts = left.is_string() && right.is_string();
  return heap.budget().check_value_depth(depth) &&
         heap.budget().charge_text(texts ? std::min(left.text().size(), right.text().size()) : 0);
}

bool equal_dicts(Heap& heap, const Dictionary& left, const Dictionary& right, int depth) {
  return left.entries.size() == right.entries.size() &&
         std::all_of(left.entries.begin(), left.entries.end(), [&](const auto& entry) {
           const auto found =
               heap.budget().charge(right.find_steps(entry.first)) ? right.find(entry.first) : std::nullopt;
           return found && equal(heap, entry.second, right.entries[*found].second, depth + 1);
         });
}

// The first place where two sequences differ, or the end of the shorter one.
std::size_t first_difference(Heap& heap, const Value& left, const Value& right, int depth) {
  const std::size_t size = std::min(items_of(left).size(), items_of(right).size());
  std::size_t i = 0;
  while (i < size && equal(heap, items_of(left)[i], items_of(right)[i], depth + 1)) {
    ++i;
  }
  return i;
}

}  // namespace

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
  return left.is_indexable() && items_of(left).size() == items_of(right).size() &&
         first_difference(heap, left, right, depth) == items_of(left).size();
}

bool same_key(const Value& left, const Value& right) {
  if (left.is_number() && right.is_number()) {
    return exact(left) == exact(right);
  }
  if (left.is_string() && right.is_string()) {
    return left.text() == right.text();
  }
  return (left.is_none() && right.is_none()) || (left.is_undefined() && right.is_undefined());
}

bool less(Heap& heap, const Value& left, const Value& right, int depth) {
  if (!charge_comparison(heap, left, right, depth)) {
    return false;
  }
  if (left.is_number() && right.is_number()) {
    return exact(left) < exact(right);
  }
  if (left.is_string() && right.is_string()) {
    return left.text() < right.text();  // the order of UTF-8 bytes is the order of code points
  }
  if ((left.is(ObjectKind::kList) || left.is(ObjectKind::kTuple)) && right.is(left.object()->kind)) {
    const std::size_t i = first_difference(heap, left, right, depth);
    return i < items_of(left).size() && i < items_of(right).size()
               ? less(heap, items_of(left)[i], items_of(right)[i], depth + 1)
               : items_of(left).size() < items_of(right).size();
  }
  const Value& wrong = right.is_undefined() ? right : left;
  heap.fail(wrong.is_undefined() ? undefined_problem(wrong)
                                 : fmt::format("'{}' and '{}' cannot be ordered", type_name(left), type_name(right)));
  return false;
}

bool compare(Heap& heap, Comparison comparison, const Value& left, const Value& right) {
  const auto is_nan = [](const Value& value) { return value.is_real() && std::isnan(value.as_real()); };
  const bool ordered = !is_nan(left) && !is_nan(right);
  switch (comparison) {
    case Comparison::kEqual:
      return equal(heap, left, right);
    case Comparison::kNotEqual:
      return !equal(heap, left, right);
    case Comparison::kLess:
      return less(heap, left, right);
    case Comparison::kGreater:
      return less(heap, right, left);
    case Comparison::kLessEqual:
      return !less(heap, right, left) && ordered;
    case Comparison::kGreaterEqual:
      return !less(heap, left, right) && ordered;
    case Comparison::kIn:
      return contains(heap, right, left);
    case Comparison::kNotIn:
      break;
  }
  return !contains(heap, right, left);
}

bool contains(Heap& heap, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) {
      heap.fail(fmt::format("'in <string>' requires a string, not '{}'", type_name(item)));
    }
    return heap.budget().charge_text(container.text().size()) &&
           find_text(container.text(), item.text(), 0) != std::string_view::npos;
  }
  if (container.is_dict()) {
    if (!hashable(item)) {
      heap.fail_type("a dict key must be a string, a number or none in chat templates", item);
    }
    return heap.budget().charge(as_dict(container).find_steps(item)) && as_dict(container).find(item).has_value();
  }
  const Iterator::Next next = iterate(heap, container);
  while (const std::optional<Value> candidate = next()) {
    if (equal(heap, *candidate, item)) {
      return true;
    }
  }
  return false;
}

}  // namespace coppice::jinja
