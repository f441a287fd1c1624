// Iteration: what Python's iter() and list() do with each kind of value.
#include <fmt/format.h>

#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace coppice::jinja {
namespace {

// Item number `i` of a list, tuple, range, view or dict.
std::optional<Value> item_at(const Value& value, std::size_t i) {
  if (i >= static_cast<std::size_t>(*length_of(value))) {
    return std::nullopt;
  }
  return value.is_dict() ? as_dict(value).entries[i].first : items_of(value)[i];
}

}  // namespace

Iterator::Next iterate(Heap& heap, const Value& value) {
  if (value.is_string()) {
    return [&heap, text = value.string(), end = std::size_t{0}]() mutable -> std::optional<Value> {
      const std::size_t start = end;
      if (heap.budget().failed() || start >= text->text.size()) {
        return std::nullopt;
      }
      end += sequence_length(text->text[start]);
      return heap.string(text->text.substr(start, end - start));
    };
  }
  if (value.is_sequence() || value.is_dict()) {
    return [&heap, value, i = std::size_t{0}]() mutable {
      return heap.budget().charge(1) ? item_at(value, i++) : std::nullopt;
    };
  }
  if (value.is(ObjectKind::kIterator)) {  // an iterator over an iterator over ... is one level of evaluation each
    return [&heap, iterator = static_cast<Iterator*>(value.object())] {
      std::optional<Value> item = heap.budget().enter() ? iterator->next() : std::nullopt;
      heap.budget().leave();
      return item;
    };
  }
  if (!value.is_undefined()) {
    heap.fail(fmt::format("'{}' object is not iterable", type_name(value)));
  }
  return []() -> std::optional<Value> { return std::nullopt; };
}

std::vector<Value> collect(Heap& heap, const Value& value) {
  std::vector<Value> items;
  const Iterator::Next next = iterate(heap, value);
  while (std::optional<Value> item = next()) {
    items.push_back(*std::move(item));
  }
  return items;
}

}  // namespace coppice::jinja
