// Iteration: what Python's iter(), list() and len() do with each kind of value.
#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace coppice::text {
namespace {

using Item = absl::StatusOr<std::optional<Value>>;

Iterator::Next iterate_string(Heap& heap, const StringRef& text) {
  return [&heap, text, position = std::size_t{0}]() mutable -> Item {
    if (position >= text->text.size()) {
      return std::nullopt;
    }
    const std::size_t length = sequence_length(text->text[position]);
    COPPICE_ASSIGN_OR_RETURN(Value character, heap.string(text->text.substr(position, length)));
    position += length;
    return std::optional<Value>(std::move(character));
  };
}

}  // namespace

absl::StatusOr<Iterator::Next> iterate(Heap& heap, const Value& value) {
  Budget& budget = heap.budget();
  if (value.is_string()) {
    return iterate_string(heap, value.string());
  }
  if (value.is_undefined()) {
    return Iterator::Next([]() -> Item { return std::nullopt; });
  }
  if (value.is_sequence()) {
    return Iterator::Next([&budget, items = &as_sequence(value).items, i = std::size_t{0}]() mutable -> Item {
      COPPICE_RETURN_IF_ERROR(budget.charge(1));
      return i < items->size() ? std::optional<Value>((*items)[i++]) : std::nullopt;
    });
  }
  if (value.is_dict()) {
    return Iterator::Next([&budget, entries = &as_dict(value).entries, i = std::size_t{0}]() mutable -> Item {
      COPPICE_RETURN_IF_ERROR(budget.charge(1));
      return i < entries->size() ? std::optional<Value>((*entries)[i++].first) : std::nullopt;
    });
  }
  if (value.is_object(ObjectKind::kIterator)) {
    return Iterator::Next([iterator = static_cast<Iterator*>(value.object())]() { return iterator->next(); });
  }
  return template_error(fmt::format("'{}' object is not iterable", type_name(value)));
}

absl::StatusOr<std::vector<Value>> collect(Heap& heap, const Value& value) {
  COPPICE_ASSIGN_OR_RETURN(Iterator::Next next, iterate(heap, value));
  std::vector<Value> items;
  while (true) {
    COPPICE_ASSIGN_OR_RETURN(std::optional<Value> item, next());
    if (!item) {
      return items;
    }
    items.push_back(*std::move(item));
  }
}

std::optional<std::int64_t> length_of(const Value& value) {
  if (value.is_string()) {
    return static_cast<std::int64_t>(value.string()->length);
  }
  if (value.is_sequence()) {
    return static_cast<std::int64_t>(as_sequence(value).items.size());
  }
  if (value.is_dict()) {
    return static_cast<std::int64_t>(as_dict(value).entries.size());
  }
  return value.is_undefined() ? std::optional<std::int64_t>(0) : std::nullopt;
}

}  // namespace coppice::text
