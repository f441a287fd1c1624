// map, select, reject, selectattr and rejectattr: generators that look at one item when it is asked for.
#include <array>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/tests.h"

namespace coppice::text {
namespace {

using Item = absl::StatusOr<std::optional<Value>>;

// The arguments after the first `count`.
Arguments rest_of(const Arguments& arguments, std::size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(), rest.positional.begin() + static_cast<std::ptrdiff_t>(count));
  return rest;
}

// The items of `input`; none when it is false in Python's eyes (none, undefined, zero).
absl::StatusOr<Iterator::Next> source_of(Heap& heap, const Value& input) {
  return iterate(heap, truthy(input) ? input : Value(Undefined{}));
}

Result map_attribute(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("map", arguments, {"attribute", "default"}, 1));
  COPPICE_ASSIGN_OR_RETURN(Iterator::Next source, source_of(heap, input));
  const std::optional<Value> fallback = bound.is_none(1) ? std::nullopt : std::optional<Value>(bound.at(1));
  return heap.iterator("do_map", [&heap, source, attribute = bound.at(0), fallback]() -> Item {
    COPPICE_ASSIGN_OR_RETURN(std::optional<Value> item, source());
    if (item) {
      COPPICE_ASSIGN_OR_RETURN(item, get_path(heap, *item, attribute, fallback ? &*fallback : nullptr));
    }
    return item;
  });
}

Result map_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  if (arguments.positional.empty()) {
    return map_attribute(heap, input, arguments);
  }
  const Value& name = arguments.positional[0];
  if (!name.is_string()) {
    return template_error("map needs the name of a filter");
  }
  COPPICE_ASSIGN_OR_RETURN(Iterator::Next source, source_of(heap, input));
  return heap.iterator("do_map", [&heap, source, name, rest = rest_of(arguments, 1)]() -> Item {
    COPPICE_ASSIGN_OR_RETURN(std::optional<Value> item, source());
    if (item) {
      COPPICE_ASSIGN_OR_RETURN(item, apply_filter(heap, name.text(), *item, rest));
    }
    return item;
  });
}

// Items that pass (or fail) a test, applied to the item or to one of its attributes; without a test, to be true.
template <bool by_attribute, bool wanted>
Result select_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  const std::size_t skipped = by_attribute ? 1 : 0;
  if (arguments.positional.size() < skipped) {
    return template_error("the name of an attribute is missing");
  }
  const Value attribute = by_attribute ? arguments.positional[0] : Value();
  const bool has_test = arguments.positional.size() > skipped;
  const Value test = has_test ? arguments.positional[skipped] : Value();
  if (has_test && !test.is_string()) {
    return template_error("the name of a test must be a string");
  }
  COPPICE_ASSIGN_OR_RETURN(Iterator::Next source, source_of(heap, input));
  return heap.iterator("select",
                       [&heap, source, attribute, test, rest = rest_of(arguments, skipped + has_test)]() -> Item {
                         while (true) {
                           COPPICE_ASSIGN_OR_RETURN(std::optional<Value> item, source());
                           if (!item) {
                             return item;
                           }
                           COPPICE_ASSIGN_OR_RETURN(Value tested, get_path(heap, *item, attribute));
                           bool passed = truthy(tested);
                           if (!test.is_none()) {
                             COPPICE_ASSIGN_OR_RETURN(passed, apply_test(heap, test.text(), tested, rest));
                           }
                           if (passed == wanted) {
                             return item;
                           }
                         }
                       });
}

constexpr auto kFilters = std::to_array<FilterName>({
    {"map", map_filter},
    {"select", select_filter<false, true>},
    {"reject", select_filter<false, false>},
    {"selectattr", select_filter<true, true>},
    {"rejectattr", select_filter<true, false>},
});

}  // namespace

std::span<const FilterName> selection_filters() {
  return kFilters;
}

}  // namespace coppice::text
