// Filters that take or make sequences. map, select and their kin are generators that look at one item when it is asked
// for.
#include <fmt/format.h>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"

namespace coppice::jinja {
namespace {

Value length_filter(Heap& heap, const Value& input, const Bound&) {
  const auto length = length_of(input);
  return length ? Value(*length) : heap.fail(fmt::format("a '{}' has no length", type_name(input)));
}

Value list_filter(Heap& heap, const Value& input, const Bound&) {
  return heap.list(collect(heap, input));
}

Value first_filter(Heap& heap, const Value& input, const Bound&) {
  return iterate(heap, input)().value_or(Value(Undefined{nullptr, "there is no first item, the sequence is empty"}));
}

Value last_filter(Heap& heap, const Value& input, const Bound&) {
  const auto length = length_of(input);
  if (!length) {
    return heap.fail_type("what can be read from its end is needed", input);
  }
  if (*length == 0) {
    return Value(Undefined{nullptr, "there is no last item, the sequence is empty"});
  }
  if (input.is_string()) {
    return get_item(heap, input, Value(std::int64_t{-1}));
  }
  return input.is_dict() ? as_dict(input).entries.back().first : items_of(input).back();
}

Value reverse_filter(Heap& heap, const Value& input, const Bound&) {
  if (input.is_string()) {
    return get_slice(heap, input, Value(), Value(), Value(std::int64_t{-1}));
  }
  const std::vector<Value> items = collect(heap, input);
  std::vector<Value> reversed(items.rbegin(), items.rend());
  // What has a length reverses to an iterator in Python, anything else to a list.
  return length_of(input) ? heap.iterator_over(std::move(reversed)) : heap.list(std::move(reversed));
}

Value join_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const std::string separator = arguments.has(0) ? to_text(heap, arguments.at(0)) : "";
  std::string result;
  bool first = true;
  const Iterator::Next next = iterate(heap, input);
  while (const std::optional<Value> item = next()) {
    result.append(first ? "" : separator).append(to_text(heap, get_path(heap, *item, arguments.value(1))));
    first = !heap.budget().charge_text(separator.size());
  }
  return heap.string(std::move(result));
}

Value items_filter(Heap& heap, const Value& input, const Bound& arguments) {
  if (input.is_undefined()) {
    return heap.iterator_over({});
  }
  if (!input.is_dict()) {
    return heap.fail_type("items needs a dict", input);
  }
  return heap.iterator_over(
      collect(heap, call_builtin(heap, *find_method(input, "items"), input, arguments.arguments())));
}

// The arguments after the first `count`.
Arguments rest_of(const Arguments& arguments, std::size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(), rest.positional.begin() + static_cast<std::ptrdiff_t>(count));
  return rest;
}

// The items of `input`; none when it is false in Python's eyes (none, undefined, zero).
Iterator::Next source_of(Heap& heap, const Value& input) {
  return iterate(heap, truthy(input) ? input : Value(Undefined{}));
}

// map('filter', ...) or map(attribute=..., default=...).
Value map_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const auto& [positional, keywords] = arguments.arguments();
  if (!positional.empty()) {
    const Builtin* const filter = positional[0].is_string() ? find_filter(positional[0].text()) : nullptr;
    if (filter == nullptr) {
      return heap.fail(unsupported("filter", to_text(heap, positional[0])));
    }
    return heap.iterator([&heap, next = source_of(heap, input), filter, rest = rest_of(arguments.arguments(), 1)] {
      const std::optional<Value> item = next();
      return item ? std::optional<Value>(call_builtin(heap, *filter, *item, rest)) : std::nullopt;
    });
  }
  Value attribute;
  Value fallback;
  for (const auto& [name, value] : keywords) {
    if (name->text != "attribute" && name->text != "default") {
      return heap.fail(fmt::format("map has no parameter '{}'", name->text));
    }
    (name->text == "attribute" ? attribute : fallback) = value;
  }
  if (attribute.is_none()) {
    return heap.fail("map needs a filter or an attribute");
  }
  return heap.iterator([&heap, next = source_of(heap, input), attribute, fallback] {
    const std::optional<Value> item = next();
    return item ? std::optional<Value>(get_path(heap, *item, attribute, fallback)) : std::nullopt;
  });
}

// Items that pass (or fail) a test, applied to the item or to one of its attributes; without a test, to be true.
template <bool by_attribute, bool wanted>
Value select_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const std::vector<Value>& given = arguments.arguments().positional;
  const std::size_t skipped = by_attribute ? 1 : 0;
  if (given.size() < skipped) {
    return heap.fail("the name of an attribute is missing");
  }
  const bool has_test = given.size() > skipped;
  const Builtin* const test = has_test && given[skipped].is_string() ? find_test(given[skipped].text()) : nullptr;
  if (has_test && test == nullptr) {
    return heap.fail(unsupported("test", to_text(heap, given[skipped])));
  }
  return heap.iterator([&heap, next = source_of(heap, input), attribute = by_attribute ? given[0] : Value(), test,
                        rest = rest_of(arguments.arguments(), skipped + (has_test ? 1 : 0))] {
    while (std::optional<Value> item = next()) {
      const Value tested = get_path(heap, *item, attribute);
      if (truthy(test == nullptr ? tested : call_builtin(heap, *test, tested, rest)) == wanted) {
        return item;
      }
    }
    return std::optional<Value>();
  });
}

constexpr auto kFilters = std::to_array<Builtin>({
    {"length", length_filter},
    {"count", length_filter},
    {"list", list_filter},
    {"first", first_filter},
    {"last", last_filter},
    {"reverse", reverse_filter},
    {"join", join_filter, {"d", "attribute"}},
    {"items", items_filter},
    {"map", map_filter, {kAnyArguments}},
    {"select", select_filter<false, true>, {kAnyArguments}},
    {"reject", select_filter<false, false>, {kAnyArguments}},
    {"selectattr", select_filter<true, true>, {kAnyArguments}},
    {"rejectattr", select_filter<true, false>, {kAnyArguments}},
});

}  // namespace

BuiltinTable sequence_filters() {
  return kFilters;
}

}  // namespace coppice::jinja
