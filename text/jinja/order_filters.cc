// Filters that compare items: sort, dictsort, unique, min, max, sum, groupby.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"

namespace coppice::text {
namespace {

struct KeyedItem {
  Value key;
  Value item;
};

// Stable, ascending or descending by key. Fails when two keys cannot be compared.
absl::Status sort_items(Heap& heap, std::vector<KeyedItem>* items, bool reverse) {
  absl::Status failure;
  std::stable_sort(items->begin(), items->end(), [&](const KeyedItem& a, const KeyedItem& b) {
    if (!failure.ok()) {
      return false;
    }
    const absl::StatusOr<bool> before = reverse ? less(heap, b.key, a.key) : less(heap, a.key, b.key);
    failure.Update(before.status());
    return before.ok() && *before;
  });
  return failure;
}

Result list_of_items(Heap& heap, std::vector<KeyedItem> keyed) {
  std::vector<Value> items;
  items.reserve(keyed.size());
  for (KeyedItem& entry : keyed) {
    items.push_back(std::move(entry.item));
  }
  return heap.list(std::move(items));
}

// One attribute of an item, in lower case unless case matters.
Result key_of(Heap& heap, const Value& item, const Value& attribute, bool case_sensitive,
              const Value* fallback = nullptr) {
  COPPICE_ASSIGN_OR_RETURN(Value key, get_path(heap, item, attribute, fallback));
  return case_sensitive ? Result(key) : fold_case(heap, key);
}

// "a,b": the attributes a sort compares, one after the other.
absl::StatusOr<std::vector<Value>> sort_attributes(Heap& heap, const Value& attribute) {
  std::vector<Value> attributes;
  if (!attribute.is_string()) {
    attributes.push_back(attribute);
    return attributes;
  }
  std::string_view rest = attribute.text();
  for (bool more = true; more;) {
    const std::size_t comma = rest.find(',');
    COPPICE_ASSIGN_OR_RETURN(Value part, heap.string(std::string(rest.substr(0, comma))));
    attributes.push_back(std::move(part));
    more = comma != std::string_view::npos;
    rest.remove_prefix(more ? comma + 1 : rest.size());
  }
  return attributes;
}

Result sort_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("sort", arguments, {"reverse", "case_sensitive", "attribute"}));
  COPPICE_ASSIGN_OR_RETURN(std::vector<Value> items, collect(heap, input));
  COPPICE_ASSIGN_OR_RETURN(std::vector<Value> attributes,
                           sort_attributes(heap, bound.is_none(2) ? Value() : bound.at(2)));
  std::vector<KeyedItem> keyed;
  for (Value& item : items) {
    std::vector<Value> keys;
    for (const Value& attribute : attributes) {
      COPPICE_ASSIGN_OR_RETURN(Value key, key_of(heap, item, attribute, bound.flag(1, false)));
      keys.push_back(std::move(key));
    }
    COPPICE_ASSIGN_OR_RETURN(Value key, heap.list(std::move(keys)));
    keyed.push_back({std::move(key), std::move(item)});
  }
  COPPICE_RETURN_IF_ERROR(sort_items(heap, &keyed, bound.flag(0, false)));
  return list_of_items(heap, std::move(keyed));
}

Result dict_sort_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("dictsort", arguments, {"case_sensitive", "by", "reverse"}));
  COPPICE_ASSIGN_OR_RETURN(std::string_view by, bound.text(1, "key"));
  if (by != "key" && by != "value") {
    return template_error("dictsort: by must be 'key' or 'value'");
  }
  if (!input.is_dict()) {
    return input.is_undefined() ? undefined_error(input)
                                : template_error(fmt::format("dictsort needs a dict, not '{}'", type_name(input)));
  }
  std::vector<KeyedItem> keyed;
  for (const auto& [name, value] : as_dict(input).entries) {
    COPPICE_ASSIGN_OR_RETURN(Value key, key_of(heap, by == "key" ? name : value, Value(), bound.flag(0, false)));
    COPPICE_ASSIGN_OR_RETURN(Value pair, heap.tuple({name, value}));
    keyed.push_back({std::move(key), std::move(pair)});
  }
  COPPICE_RETURN_IF_ERROR(sort_items(heap, &keyed, bound.flag(2, false)));
  return list_of_items(heap, std::move(keyed));
}

Result unique_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("unique", arguments, {"case_sensitive", "attribute"}));
  COPPICE_ASSIGN_OR_RETURN(std::vector<Value> items, collect(heap, input));
  COPPICE_ASSIGN_OR_RETURN(Value seen_value, heap.dict({}));
  auto& seen = static_cast<Dictionary&>(*seen_value.object());
  std::vector<Value> result;
  for (const Value& item : items) {
    COPPICE_ASSIGN_OR_RETURN(Value key,
                             key_of(heap, item, bound.is_none(1) ? Value() : bound.at(1), bound.flag(0, false)));
    if (!hashable(key)) {
      return template_error(fmt::format("unique cannot compare a '{}'", type_name(key)));
    }
    const std::size_t before = seen.entries.size();
    COPPICE_RETURN_IF_ERROR(heap.assign(seen, key, Value()));
    if (seen.entries.size() > before) {
      result.push_back(item);
    }
  }
  return iterator_over(heap, "do_unique", std::move(result));
}

template <bool maximum>
Result extreme_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("min", arguments, {"case_sensitive", "attribute"}));
  COPPICE_ASSIGN_OR_RETURN(std::vector<Value> items, collect(heap, input));
  std::optional<KeyedItem> best;
  for (Value& item : items) {
    COPPICE_ASSIGN_OR_RETURN(Value key,
                             key_of(heap, item, bound.is_none(1) ? Value() : bound.at(1), bound.flag(0, false)));
    if (best) {
      COPPICE_ASSIGN_OR_RETURN(bool better, maximum ? less(heap, best->key, key) : less(heap, key, best->key));
      if (!better) {
        continue;
      }
    }
    best = KeyedItem{std::move(key), std::move(item)};
  }
  if (best) {
    return best->item;
  }
  COPPICE_ASSIGN_OR_RETURN(Value hint, heap.string("there is no smallest or largest item, the sequence is empty"));
  return Value(Undefined{hint.string(), Absence::kHint});
}

Result sum_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("sum", arguments, {"attribute", "start"}));
  COPPICE_ASSIGN_OR_RETURN(std::vector<Value> items, collect(heap, input));
  Value total = bound.has(1) ? bound.at(1) : Value(std::int64_t{0});
  if (total.is_string()) {
    return template_error("sum cannot add strings");
  }
  for (const Value& item : items) {
    COPPICE_ASSIGN_OR_RETURN(Value value, get_path(heap, item, bound.is_none(0) ? Value() : bound.at(0)));
    COPPICE_ASSIGN_OR_RETURN(total, binary_operation(heap, BinaryOperator::kAdd, total, value));
  }
  return total;
}

// A (grouper, list) pair, whose parts also have names.
Result group_tuple(Heap& heap, Value grouper, std::vector<Value> items) {
  COPPICE_ASSIGN_OR_RETURN(Value list, heap.list(std::move(items)));
  COPPICE_ASSIGN_OR_RETURN(Value tuple, heap.tuple({std::move(grouper), std::move(list)}));
  static_cast<Sequence&>(*tuple.object()).group = true;
  return tuple;
}

Result group_filter(Heap& heap, const Value& input, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound,
                           bind("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1));
  COPPICE_ASSIGN_OR_RETURN(std::vector<Value> items, collect(heap, input));
  const bool case_sensitive = bound.flag(2, false);
  const Value* fallback = bound.is_none(1) ? nullptr : &bound.at(1);
  std::vector<KeyedItem> keyed;
  for (Value& item : items) {
    COPPICE_ASSIGN_OR_RETURN(Value key, key_of(heap, item, bound.at(0), case_sensitive, fallback));
    keyed.push_back({std::move(key), std::move(item)});
  }
  COPPICE_RETURN_IF_ERROR(sort_items(heap, &keyed, false));
  std::vector<Value> groups;
  for (std::size_t start = 0; start < keyed.size();) {
    std::vector<Value> members;
    std::size_t end = start;
    for (; end < keyed.size(); ++end) {
      COPPICE_ASSIGN_OR_RETURN(bool same, equal(heap, keyed[end].key, keyed[start].key));
      if (!same) {
        break;
      }
      members.push_back(keyed[end].item);
    }
    if (end == start) {  // a key that does not equal itself
      members.push_back(keyed[end++].item);
    }
    COPPICE_ASSIGN_OR_RETURN(Value grouper, get_path(heap, members.front(), bound.at(0), fallback));
    COPPICE_ASSIGN_OR_RETURN(Value group, group_tuple(heap, std::move(grouper), std::move(members)));
    groups.push_back(std::move(group));
    start = end;
  }
  return heap.list(std::move(groups));
}

constexpr auto kFilters = std::to_array<FilterName>({
    {"sort", sort_filter},
    {"dictsort", dict_sort_filter},
    {"unique", unique_filter},
    {"min", extreme_filter<false>},
    {"max", extreme_filter<true>},
    {"sum", sum_filter},
    {"groupby", group_filter},
});

}  // namespace

std::span<const FilterName> order_filters() {
  return kFilters;
}

}  // namespace coppice::text
