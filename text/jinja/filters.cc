// Finding filters by name, and the helpers they share.
#include "text/jinja/filters.h"

#include <array>
#include <charconv>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/attributes.h"
#include "text/jinja/unicode.h"

namespace coppice::text {
namespace {

Filter find_filter(std::string_view name) {
  for (const auto table :
       {text_filters(), number_filters(), sequence_filters(), order_filters(), selection_filters()}) {
    for (const FilterName& entry : table) {
      if (entry.name == name) {
        return entry.filter;
      }
    }
  }
  return nullptr;
}

}  // namespace

bool filter_exists(std::string_view name) {
  return find_filter(name) != nullptr;
}

Result apply_filter(Heap& heap, std::string_view name, const Value& input, const Arguments& arguments) {
  const Filter filter = find_filter(name);
  if (filter == nullptr) {
    return template_error(fmt::format("no filter named '{}'", name));
  }
  return filter(heap, input, arguments);
}

Result get_path(Heap& heap, const Value& item, const Value& attribute, const Value* fallback) {
  if (attribute.is_none()) {
    return item;
  }
  if (!attribute.is_string()) {
    COPPICE_ASSIGN_OR_RETURN(Value found, get_item(heap, item, attribute));
    return found.is_undefined() && fallback != nullptr ? *fallback : found;
  }
  Value value = item;
  std::string_view rest = attribute.text();
  for (bool more = true; more;) {
    const std::size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    more = dot != std::string_view::npos;
    rest.remove_prefix(more ? dot + 1 : rest.size());
    std::int64_t index = 0;
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool number =
        !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos && parsed.ec == std::errc();
    Value key(index);
    if (!number) {
      COPPICE_ASSIGN_OR_RETURN(key, heap.string(std::string(part)));
    }
    COPPICE_ASSIGN_OR_RETURN(value, get_item(heap, value, key));
    if (value.is_undefined() && fallback != nullptr) {
      value = *fallback;
    }
  }
  return value;
}

Result fold_case(Heap& heap, const Value& value) {
  return value.is_string() ? heap.string(to_lower(value.text())) : Result(value);
}

Result iterator_over(Heap& heap, const char* name, std::vector<Value> items) {
  COPPICE_ASSIGN_OR_RETURN(Value list, heap.list(std::move(items)));
  return heap.iterator(name, [list, i = std::size_t{0}]() mutable -> absl::StatusOr<std::optional<Value>> {
    const auto& all = as_sequence(list).items;
    return i < all.size() ? std::optional<Value>(all[i++]) : std::nullopt;
  });
}

}  // namespace coppice::text
