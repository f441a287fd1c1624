// Equality, order and membership, and what dict keys are the same.
#include <cmath>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_search.h"

namespace coppice::text {
namespace {

constexpr int kKeyDepthMax = 16;  // nesting of tuples that are dict keys

// Wide enough to hold every int64, uint64 and double exactly on x86-64 and AArch64.
long double exact(const Value& value) {
  if (value.is_real()) {
    return value.real();
  }
  return value.is_unsigned() ? static_cast<long double>(value.unsigned_integer())
                             : static_cast<long double>(value.integer());
}

absl::StatusOr<bool> equal_at(Heap& heap, const Value& left, const Value& right, int depth);

absl::StatusOr<bool> equal_sequences(Heap& heap, const Sequence& left, const Sequence& right, int depth) {
  if (left.items.size() != right.items.size()) {
    return false;
  }
  for (std::size_t i = 0; i < left.items.size(); ++i) {
    COPPICE_ASSIGN_OR_RETURN(bool same, equal_at(heap, left.items[i], right.items[i], depth + 1));
    if (!same) {
      return false;
    }
  }
  return true;
}

absl::StatusOr<bool> equal_dicts(Heap& heap, const Dictionary& left, const Dictionary& right, int depth) {
  if (left.entries.size() != right.entries.size()) {
    return false;
  }
  for (const auto& [key, value] : left.entries) {
    const auto found = right.find(key);
    if (!found) {
      return false;
    }
    COPPICE_ASSIGN_OR_RETURN(bool same, equal_at(heap, value, right.entries[*found].second, depth + 1));
    if (!same) {
      return false;
    }
  }
  return true;
}

absl::StatusOr<bool> equal_objects(Heap& heap, Object* left, Object* right, int depth) {
  if (left == right) {
    return true;
  }
  if (left->kind != right->kind) {
    return false;
  }
  switch (left->kind) {
    case ObjectKind::kList:
    case ObjectKind::kTuple:
    case ObjectKind::kRange:
      return equal_sequences(heap, static_cast<Sequence&>(*left), static_cast<Sequence&>(*right), depth);
    case ObjectKind::kDict:
      return equal_dicts(heap, static_cast<Dictionary&>(*left), static_cast<Dictionary&>(*right), depth);
    default:
      return false;
  }
}

absl::StatusOr<bool> equal_at(Heap& heap, const Value& left, const Value& right, int depth) {
  COPPICE_RETURN_IF_ERROR(heap.budget().charge(1));
  if (depth > heap.limits().value_depth_max) {
    return absl::ResourceExhaustedError("compared values are nested too deep");
  }
  if (left.is_number() && right.is_number()) {
    return exact(left) == exact(right);
  }
  if (left.is_string() && right.is_string()) {
    COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(std::min(left.text().size(), right.text().size())));
    return left.text() == right.text();
  }
  if (left.is_object() && right.is_object()) {
    return equal_objects(heap, left.object(), right.object(), depth);
  }
  return (left.is_none() && right.is_none()) || (left.is_undefined() && right.is_undefined());
}

absl::StatusOr<bool> less_at(Heap& heap, const Value& left, const Value& right, int depth);

absl::StatusOr<bool> less_sequences(Heap& heap, const Sequence& left, const Sequence& right, int depth) {
  for (std::size_t i = 0; i < left.items.size() && i < right.items.size(); ++i) {
    COPPICE_ASSIGN_OR_RETURN(bool same, equal_at(heap, left.items[i], right.items[i], depth + 1));
    if (!same) {
      return less_at(heap, left.items[i], right.items[i], depth + 1);
    }
  }
  return left.items.size() < right.items.size();
}

absl::StatusOr<bool> less_at(Heap& heap, const Value& left, const Value& right, int depth) {
  COPPICE_RETURN_IF_ERROR(heap.budget().charge(1));
  if (depth > heap.limits().value_depth_max) {
    return absl::ResourceExhaustedError("compared values are nested too deep");
  }
  if (left.is_number() && right.is_number()) {
    return exact(left) < exact(right);
  }
  if (left.is_string() && right.is_string()) {
    COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(std::min(left.text().size(), right.text().size())));
    return left.text() < right.text();  // the order of UTF-8 bytes is the order of code points
  }
  if ((left.is_list() && right.is_list()) || (left.is_tuple() && right.is_tuple())) {
    return less_sequences(heap, as_sequence(left), as_sequence(right), depth);
  }
  for (const Value* side : {&left, &right}) {
    if (side->is_undefined()) {
      return undefined_error(*side);
    }
  }
  return template_error(fmt::format("'{}' and '{}' cannot be ordered", type_name(left), type_name(right)));
}

// NaN is neither less nor greater, so "not less" would be wrong for it.
bool either_nan(const Value& left, const Value& right) {
  return (left.is_real() && std::isnan(left.real())) || (right.is_real() && std::isnan(right.real()));
}

bool same_key_at(const Value& left, const Value& right, int depth) {
  if (left.is_number() && right.is_number()) {
    return exact(left) == exact(right);
  }
  if (left.is_string() || right.is_string()) {
    return left.is_string() && right.is_string() && left.text() == right.text();
  }
  if (left.is_tuple() && right.is_tuple() && depth < kKeyDepthMax) {
    const auto& first = as_sequence(left).items;
    const auto& second = as_sequence(right).items;
    return std::equal(first.begin(), first.end(), second.begin(), second.end(),
                      [depth](const Value& a, const Value& b) { return same_key_at(a, b, depth + 1); });
  }
  if (left.is_object() && right.is_object()) {
    return left.object() == right.object();
  }
  return (left.is_none() && right.is_none()) || (left.is_undefined() && right.is_undefined());
}

bool hashable_at(const Value& value, int depth) {
  if (!value.is_object()) {
    return true;
  }
  if (value.is_tuple() && depth < kKeyDepthMax) {
    const auto& items = as_sequence(value).items;
    return std::all_of(items.begin(), items.end(), [depth](const Value& item) { return hashable_at(item, depth + 1); });
  }
  switch (value.object()->kind) {
    case ObjectKind::kRange:
    case ObjectKind::kNamespace:
    case ObjectKind::kCallable:
    case ObjectKind::kIterator:
      return true;
    default:
      return false;
  }
}

}  // namespace

absl::StatusOr<bool> equal(Heap& heap, const Value& left, const Value& right) {
  return equal_at(heap, left, right, 0);
}

absl::StatusOr<bool> less(Heap& heap, const Value& left, const Value& right) {
  return less_at(heap, left, right, 0);
}

absl::StatusOr<bool> compare(Heap& heap, Comparison comparison, const Value& left, const Value& right) {
  switch (comparison) {
    case Comparison::kEqual:
      return equal(heap, left, right);
    case Comparison::kNotEqual: {
      COPPICE_ASSIGN_OR_RETURN(bool same, equal(heap, left, right));
      return !same;
    }
    case Comparison::kLess:
      return less(heap, left, right);
    case Comparison::kGreater:
      return less(heap, right, left);
    case Comparison::kLessEqual: {
      COPPICE_ASSIGN_OR_RETURN(bool greater, less(heap, right, left));
      return !greater && !either_nan(left, right);
    }
    case Comparison::kGreaterEqual: {
      COPPICE_ASSIGN_OR_RETURN(bool smaller, less(heap, left, right));
      return !smaller && !either_nan(left, right);
    }
    case Comparison::kIn:
      return contains(heap, right, left);
    case Comparison::kNotIn:
      break;
  }
  COPPICE_ASSIGN_OR_RETURN(bool inside, contains(heap, right, left));
  return !inside;
}

absl::StatusOr<bool> contains(Heap& heap, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) {
      return item.is_undefined()
                 ? template_error("an undefined value is looked for in a string")
                 : template_error(fmt::format("'in <string>' requires a string, not '{}'", type_name(item)));
    }
    COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(container.text().size()));
    return find_text(container.text(), item.text(), 0) != std::string_view::npos;
  }
  if (container.is_dict() || container.is_object(ObjectKind::kDictKeys)) {
    if (!hashable(item)) {
      return template_error(fmt::format("a '{}' cannot be a dict key", type_name(item)));
    }
  }
  if (container.is_dict()) {
    const Dictionary& dictionary = as_dict(container);
    COPPICE_RETURN_IF_ERROR(heap.budget().charge(
        dictionary.has_other_keys && !item.is_string() ? static_cast<std::int64_t>(dictionary.entries.size()) : 1));
    return dictionary.find(item).has_value();
  }
  COPPICE_ASSIGN_OR_RETURN(Iterator::Next next, iterate(heap, container));
  while (true) {
    COPPICE_ASSIGN_OR_RETURN(std::optional<Value> candidate, next());
    if (!candidate) {
      return false;
    }
    COPPICE_ASSIGN_OR_RETURN(bool same, equal(heap, *candidate, item));
    if (same) {
      return true;
    }
  }
}

bool hashable(const Value& value) {
  return hashable_at(value, 0);
}

bool same_key(const Value& left, const Value& right) {
  return same_key_at(left, right, 0);
}

}  // namespace coppice::text
