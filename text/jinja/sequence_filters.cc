// Filters that take or make sequences, in the order they come.
#include <array>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/arguments.h"
#include "text/jinja/attributes.h"
#include "text/jinja/filters.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::text {
namespace {

Result hint_undefined(Heap& heap, const char* message) {
  COPPICE_ASSIGN_OR_RETURN(Value hint, heap.string(message));
  return Value(Undefined{hint.string(), Absence::kHint});
}

Result length_filter(Heap&, const Value& input, const Arguments&) {
  const auto length = length_of(input);
  return length ? Result(Value(*length)) : template_error(fmt::format("a '{}' has no length", type_name(input)));
}

Result list_filter(Heap& heap, const Value& input, const Arguments&) {
  COPPICE_ASSIGN_OR_RETURN(std::vector<Value> items, collect(heap, input));
  return heap.list(std::move(items));
}

Result first_filter(Heap& heap, const Value& input, const Arguments&) {
  COPPICE_ASSIGN_OR_RETURN(Iterator::Next next, iterate(heap, input));
  COPPICE_ASSIGN_OR_RETURN(std::optional<Value> item, next());
  return item ? Result(*std::move(item)) : hint_undefined(heap, "there is no first item, the sequence is empty");
}

// What Python's reversed() accepts.
bool reversible(const Value& value) {
  return value.is_string() || value.is_sequence() || value.is_dict() || value.is_undefined();
}

Result last_filter(Heap& heap, const Value& input, const Arguments&) {
  if (!reversible(input)) {
    return template_error(fmt::format("a '{}' cannot be read from its end", type_name(input)));
  }
  if (*length_of(input) == 0) {
    return hint_undefined(heap, "there is no last item, the sequence is empty");
  }
  if (input.is_dict()) {
    return as_dict(input).entries.back().first;
  }
  if (input.is_string()) {
    return get_item(heap, input, Value(std::int64_t{-1}));
  }
  return as_sequence(input).items.back();
}

Result reverse_filter(Heap& heap, const Value& input, const Arguments&) {
  if (input.is_string()) {
    return get_slice(heap, input, Value(), Value(), Value(std::int64_t{-1}));
  }
  COPPICE_ASSIGN_OR_RETURN(std::vector<Value> items, collect(heap, input));
  std::vector<Value> reversed(items.rbegin(), items.rend());
  return reversible(input) ? iterator_over(heap, "reversed", std::move(reversed)) : heap.list(std::move(reversed));
}

Result join_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("join", arguments, {"d", "attribute"}));
  std::string separator;
  if (bound.has(0)) {
    COPPICE_ASSIGN_OR_RETURN(separator, to_text(heap, bound.at(0)));
  }
  COPPICE_ASSIGN_OR_RETURN(Iterator::Next next, iterate(heap, input));
  std::string result;
  for (bool first = true;; first = false) {
    COPPICE_ASSIGN_OR_RETURN(std::optional<Value> item, next());
    if (!item) {
      return heap.string(std::move(result));
    }
    if (!bound.is_none(1)) {
      COPPICE_ASSIGN_OR_RETURN(item, get_path(heap, *item, bound.at(1)));
    }
    COPPICE_ASSIGN_OR_RETURN(std::string text, to_text(heap, *item));
    COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(separator.size() + text.size()));
    result += first ? "" : separator;
    result += text;
  }
}

Result items_filter(Heap& heap, const Value& input, const Arguments&) {
  if (input.is_undefined()) {
    return iterator_over(heap, "do_items", {});
  }
  if (!input.is_dict()) {
    return template_error(fmt::format("items needs a dict, not '{}'", type_name(input)));
  }
  COPPICE_ASSIGN_OR_RETURN(Value view, find_method(input, "items").method(heap, input, {}));
  return iterator_over(heap, "do_items", as_sequence(view).items);
}

absl::StatusOr<std::int64_t> count_argument(const BoundArguments& bound, const char* filter) {
  COPPICE_ASSIGN_OR_RETURN(std::int64_t count, bound.integer(0, 0));
  if (count <= 0) {
    return template_error(fmt::format("{} needs a count above zero", filter));
  }
  return count;
}

Result batch_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("batch", arguments, {"linecount", "fill_with"}, 1));
  COPPICE_ASSIGN_OR_RETURN(std::int64_t count, count_argument(bound, "batch"));
  COPPICE_ASSIGN_OR_RETURN(std::vector<Value> items, collect(heap, input));
  std::vector<Value> rows;
  const auto size = static_cast<std::size_t>(count);
  for (std::size_t start = 0; start < items.size(); start += std::min(size, items.size() - start)) {
    std::vector<Value> row;
    for (std::size_t i = start; i < items.size() && i - start < size; ++i) {
      row.push_back(items[i]);
    }
    while (!bound.is_none(1) && row.size() < size) {
      COPPICE_RETURN_IF_ERROR(heap.budget().charge(1));
      row.push_back(bound.at(1));
    }
    COPPICE_ASSIGN_OR_RETURN(Value list, heap.list(std::move(row)));
    rows.push_back(std::move(list));
  }
  return iterator_over(heap, "do_batch", std::move(rows));
}

Result slice_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("slice", arguments, {"slices", "fill_with"}, 1));
  COPPICE_ASSIGN_OR_RETURN(std::int64_t slices, count_argument(bound, "slice"));
  COPPICE_ASSIGN_OR_RETURN(std::vector<Value> items, collect(heap, input));
  const auto length = static_cast<std::int64_t>(items.size());
  const std::int64_t each = length / slices;
  const std::int64_t extra = length % slices;
  std::vector<Value> columns;
  auto next = items.begin();
  for (std::int64_t i = 0; i < slices; ++i) {
    COPPICE_RETURN_IF_ERROR(heap.budget().charge(1));
    const auto end = next + each + (i < extra ? 1 : 0);
    std::vector<Value> column(next, end);
    next = end;
    if (!bound.is_none(1) && i >= extra) {
      column.push_back(bound.at(1));
    }
    COPPICE_ASSIGN_OR_RETURN(Value list, heap.list(std::move(column)));
    columns.push_back(std::move(list));
  }
  return iterator_over(heap, "do_slice", std::move(columns));
}

Result attribute_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("attr", arguments, {"name"}, 1));
  COPPICE_RETURN_IF_ERROR(bound.text(0).status());
  const StringRef& name = bound.at(0).string();
  if (input.is_dict() && !find_method(input, name->text).exists) {
    return Value(Undefined{name, Absence::kAttribute});  // an attribute only, never an item
  }
  return get_attribute(heap, input, name);
}

constexpr auto kFilters = std::to_array<FilterName>({
    {"length", length_filter},
    {"count", length_filter},
    {"list", list_filter},
    {"first", first_filter},
    {"last", last_filter},
    {"reverse", reverse_filter},
    {"join", join_filter},
    {"items", items_filter},
    {"batch", batch_filter},
    {"slice", slice_filter},
    {"attr", attribute_filter},
});

}  // namespace

std::span<const FilterName> sequence_filters() {
  return kFilters;
}

}  // namespace coppice::text
