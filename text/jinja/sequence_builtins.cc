// Filters that take or make sequences. map, select and their kin are generators that look at one item when it is asked
// for.
#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace coppice::jinja {
namespace {

// "a.b.0" as a path of keys, looked up one by one (jinja2's make_attrgetter). An int or string attribute; a none
// attribute is the item itself. `fallback`, when not none, stands for undefined.
Value get_path(Heap& heap, const Value& item, const Value& attribute, const Value& fallback = Value()) {
  const auto or_fallback = [&](Value value) { return value.is_undefined() && !fallback.is_none() ? fallback : value; };
  if (!attribute.is_string()) {
    return attribute.is_none() ? item : or_fallback(get_item(heap, item, attribute));
  }
  Value value = item;
  std::string_view rest = attribute.text();
  for (bool more = true; more && !heap.budget().failed();) {
    const std::string_view part = rest.substr(0, rest.find('.'));
    more = part.size() < rest.size();
    rest.remove_prefix(part.size() + (more ? 1 : 0));
    std::int64_t index = 0;
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool is_index = parsed.ec == std::errc() && parsed.ptr == part.data() + part.size() && !part.starts_with('-');
    value = or_fallback(get_item(heap, value, is_index ? Value(index) : heap.string(part)));
  }
  return value;
}

Value length_filter(Heap& heap, const Value& input, const Bound&) {
  const auto length = length_of(input);
  return length ? Value(*length) : heap.fail(fmt::format("a '{}' has no length", type_name(input)));
}

// Lists do not change, so a list is its own copy.
Value list_filter(Heap& heap, const Value& input, const Bound&) {
  const Value items = collected(heap, input);
  return items.is(ObjectKind::kList) ? items : heap.sequence(ObjectKind::kList, items_of(items));
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

Value iterator_over(Heap& heap, const Value& value) {
  return heap.iterator(iterate(heap, value));
}

Value reverse_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const bool is_text = input.is_string();
  const bool is_iterator = !is_text && length_of(input);  // in Python; what has no length becomes a list
  const Value items = is_text || input.is_indexable() ? input : list_filter(heap, input, arguments);
  const Value reversed = get_slice(heap, items, Value(), Value(), Value(std::int64_t{-1}));
  return is_iterator ? iterator_over(heap, reversed) : reversed;
}

Value join_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const StringRef separator = to_text(heap, arguments.value(0, Value(Undefined{})));
  TextBuilder result(heap);
  const Iterator::Next next = iterate(heap, input);
  for (bool first = true; const std::optional<Value> item = next(); first = false) {
    result.append(first ? "" : separator->text).append(to_text(heap, get_path(heap, *item, arguments.value(1)))->text);
  }
  return result.finish();
}

Value items_filter(Heap& heap, const Value& input, const Bound& arguments) {
  if (!input.is_dict() && !input.is_undefined()) {
    return heap.fail_type("items needs a dict", input);
  }
  return iterator_over(heap, input.is_undefined()
                                 ? input
                                 : call_builtin(heap, *find_method(input, "items"), input, arguments.arguments()));
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
      return heap.fail(unsupported("filter", to_text(heap, positional[0])->text));
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
    return heap.fail(unsupported("test", to_text(heap, given[skipped])->text));
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

// One attribute of an item, in lower case unless case matters.
Value key_of(Heap& heap, const Value& item, const Value& attribute, bool case_sensitive) {
  const Value key = get_path(heap, item, attribute);
  return key.is_string() && !case_sensitive ? to_case(heap, key.string(), LetterCase::kLower) : key;
}

// A list of the items, stably sorted by the keys of the same index.
Value sorted(Heap& heap, const std::vector<Value>& keys, const std::vector<Value>& items, bool reverse) {
  std::vector<std::uint32_t> order(heap.budget().failed() ? 0 : items.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = static_cast<std::uint32_t>(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    // Equal keys are not ordered: jinja2 sorts lists of keys, and undefined keys have no order but are equal.
    return !heap.budget().failed() && !equal(heap, keys[a], keys[b]) &&
           (reverse ? less(heap, keys[b], keys[a]) : less(heap, keys[a], keys[b]));
  });
  auto& list = heap.make<Sequence>(ObjectKind::kList);
  for (std::size_t i = 0; i < order.size() && heap.push(list, items[order[i]]); ++i) {
  }
  return Value(&list);
}

Value sort_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const Value attribute = arguments.value(2);
  if (attribute.is_string() && attribute.text().find(',') != std::string::npos) {
    return heap.fail("sorting by several attributes is not supported in chat templates");
  }
  const Value items = collected(heap, input);
  auto& keys = heap.make<Sequence>(ObjectKind::kList);
  for (const Value& item : items_of(items)) {
    if (!heap.push(keys, key_of(heap, item, attribute, arguments.flag(1)))) {
      break;
    }
  }
  return sorted(heap, keys.items, items_of(items), arguments.flag(0));
}

Value dict_sort_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const std::string_view by = arguments.text(heap, 1, "key");
  if (!input.is_dict() || (by != "key" && by != "value")) {
    return heap.fail_type("dictsort needs a dict, and by must be 'key' or 'value'", input);
  }
  auto& keys = heap.make<Sequence>(ObjectKind::kList);
  auto& items = heap.make<Sequence>(ObjectKind::kList);
  for (const auto& [name, value] : as_dict(input).entries) {
    heap.push(keys, key_of(heap, by == "key" ? name : value, Value(), arguments.flag(0)));
    if (!heap.push(items, heap.sequence(ObjectKind::kTuple, {name, value}))) {
      break;
    }
  }
  return sorted(heap, keys.items, items.items, arguments.flag(2));
}

Value unique_filter(Heap& heap, const Value& input, const Bound& arguments) {
  auto& seen = heap.make<Dictionary>();
  auto& result = heap.make<Sequence>(ObjectKind::kList);
  const Iterator::Next next = iterate(heap, input);
  while (const std::optional<Value> item = next()) {
    const std::size_t before = seen.entries.size();
    heap.assign(seen, key_of(heap, *item, arguments.value(1), arguments.flag(0)), Value());
    if (seen.entries.size() > before && !heap.push(result, *item)) {
      break;
    }
  }
  return iterator_over(heap, Value(&result));
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
    {"sort", sort_filter, {"reverse", "case_sensitive", "attribute"}},
    {"dictsort", dict_sort_filter, {"case_sensitive", "by", "reverse"}},
    {"unique", unique_filter, {"case_sensitive", "attribute"}},
});

}  // namespace

BuiltinTable sequence_filters() {
  return kFilters;
}

}  // namespace coppice::jinja
