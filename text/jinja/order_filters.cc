// Filters that compare items: sort, dictsort, unique, min, max, sum, groupby.
#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace coppice::jinja {
namespace {

struct KeyedItem {
  Value key;
  Value item;
};

// One attribute of an item, in lower case unless case matters.
Value key_of(Heap& heap, const Value& item, const Value& attribute, bool case_sensitive,
             const Value& fallback = Value()) {
  Value key = get_path(heap, item, attribute, fallback);
  return key.is_string() && !case_sensitive ? heap.string(to_lower(key.text())) : key;
}

// The items, stably sorted by key.
std::vector<Value> sorted(Heap& heap, std::vector<KeyedItem> keyed, bool reverse) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const KeyedItem& a, const KeyedItem& b) {
    return !heap.budget().failed() && (reverse ? less(heap, b.key, a.key) : less(heap, a.key, b.key));
  });
  std::vector<Value> items;
  for (KeyedItem& entry : keyed) {
    items.push_back(std::move(entry.item));
  }
  return items;
}

Value sort_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const Value attributes = arguments.value(2);
  std::vector<KeyedItem> keyed;
  for (Value& item : collect(heap, input)) {
    std::vector<Value> keys;
    std::string_view rest = attributes.is_string() ? std::string_view(attributes.text()) : "";
    for (bool more = attributes.is_string(); more && !heap.budget().failed();) {  // "a,b": one after the other
      const std::string_view part = rest.substr(0, rest.find(','));
      keys.push_back(key_of(heap, item, heap.string(std::string(part)), arguments.flag(1)));
      more = part.size() < rest.size();
      rest.remove_prefix(part.size() + (more ? 1 : 0));
    }
    if (!attributes.is_string()) {
      keys.push_back(key_of(heap, item, attributes, arguments.flag(1)));
    }
    keyed.push_back({heap.list(std::move(keys)), std::move(item)});
  }
  return heap.list(sorted(heap, std::move(keyed), arguments.flag(0)));
}

Value dict_sort_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const std::string_view by = arguments.text(heap, 1, "key");
  if (!input.is_dict() || (by != "key" && by != "value")) {
    return heap.fail_type("dictsort needs a dict, and by must be 'key' or 'value'", input);
  }
  std::vector<KeyedItem> keyed;
  for (const auto& [name, value] : as_dict(input).entries) {
    keyed.push_back({key_of(heap, by == "key" ? name : value, Value(), arguments.flag(0)), heap.tuple({name, value})});
  }
  return heap.list(sorted(heap, std::move(keyed), arguments.flag(2)));
}

Value unique_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const Value seen_value = heap.dict({});
  std::vector<Value> result;
  for (const Value& item : collect(heap, input)) {
    const Value key = key_of(heap, item, arguments.value(1), arguments.flag(0));
    if (heap.budget().failed()) {
      return Value();
    }
    auto& seen = static_cast<Dictionary&>(*seen_value.object());
    const std::size_t before = seen.entries.size();
    heap.assign(seen, key, Value());
    if (seen.entries.size() > before) {
      result.push_back(item);
    }
  }
  return heap.iterator_over(std::move(result));
}

template <bool maximum>
Value extreme_filter(Heap& heap, const Value& input, const Bound& arguments) {
  std::optional<KeyedItem> best;
  for (Value& item : collect(heap, input)) {
    Value key = key_of(heap, item, arguments.value(1), arguments.flag(0));
    if (!best || (maximum ? less(heap, best->key, key) : less(heap, key, best->key))) {
      best = KeyedItem{std::move(key), std::move(item)};
    }
  }
  return best ? best->item : Value(Undefined{nullptr, "there is no smallest or largest item, the sequence is empty"});
}

Value sum_filter(Heap& heap, const Value& input, const Bound& arguments) {
  Value total = arguments.value(1, Value(std::int64_t{0}));
  if (total.is_string()) {
    return heap.fail("sum cannot add strings");
  }
  for (const Value& item : collect(heap, input)) {
    total = binary_operation(heap, BinaryOperator::kAdd, total, get_path(heap, item, arguments.value(0)));
  }
  return total;
}

Value group_filter(Heap& heap, const Value& input, const Bound& arguments) {
  const auto key = [&](const Value& item) {
    return key_of(heap, item, arguments.at(0), arguments.flag(2), arguments.value(1));
  };
  std::vector<KeyedItem> keyed;
  for (Value& item : collect(heap, input)) {
    keyed.push_back({key(item), std::move(item)});
  }
  const std::vector<Value> items = sorted(heap, std::move(keyed), false);
  std::vector<Value> groups;
  for (std::size_t start = 0; start < items.size() && !heap.budget().failed();) {
    std::size_t end = start + 1;
    while (end < items.size() && equal(heap, key(items[end]), key(items[start]))) {
      ++end;
    }
    const Value group = heap.tuple({get_path(heap, items[start], arguments.at(0), arguments.value(1)),
                                    heap.list({items.begin() + static_cast<std::ptrdiff_t>(start),
                                               items.begin() + static_cast<std::ptrdiff_t>(end)})});
    if (group.is_object()) {
      static_cast<Sequence&>(*group.object()).group = true;
    }
    groups.push_back(group);
    start = end;
  }
  return heap.list(std::move(groups));
}

constexpr auto kFilters = std::to_array<Builtin>({
    {"sort", sort_filter, {"reverse", "case_sensitive", "attribute"}},
    {"dictsort", dict_sort_filter, {"case_sensitive", "by", "reverse"}},
    {"unique", unique_filter, {"case_sensitive", "attribute"}},
    {"min", extreme_filter<false>, {"case_sensitive", "attribute"}},
    {"max", extreme_filter<true>, {"case_sensitive", "attribute"}},
    {"sum", sum_filter, {"attribute", "start"}},
    {"groupby", group_filter, {"attribute", "default", "case_sensitive"}, 1},
});

}  // namespace

BuiltinTable order_filters() {
  return kFilters;
}

}  // namespace coppice::jinja
