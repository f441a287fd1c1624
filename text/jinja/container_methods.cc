// Methods of dict, list and tuple, and the table of what each type's methods are.
#include <algorithm>
#include <array>
#include <span>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/arguments.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"

namespace coppice::text {
namespace {

template <ObjectKind kind>
Result dict_view(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_RETURN_IF_ERROR(bind("view", arguments, {}).status());
  std::vector<Value> items;
  for (const auto& [key, value] : as_dict(self).entries) {
    COPPICE_RETURN_IF_ERROR(heap.budget().charge(1));
    if (kind == ObjectKind::kDictItems) {
      COPPICE_ASSIGN_OR_RETURN(Value pair, heap.tuple({key, value}));
      items.push_back(std::move(pair));
    } else {
      items.push_back(kind == ObjectKind::kDictKeys ? key : value);
    }
  }
  return heap.sequence(kind, std::move(items));
}

Result dict_get(Heap&, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("get", arguments, {"/key", "/default"}, 1));
  if (!hashable(bound.at(0))) {
    return template_error(fmt::format("a '{}' cannot be a dict key", type_name(bound.at(0))));
  }
  const auto found = as_dict(self).find(bound.at(0));
  if (found) {
    return as_dict(self).entries[*found].second;
  }
  return bound.has(1) ? bound.at(1) : Value();
}

// Objects are immutable, so a copy need not be another object.
Result copied(Heap&, const Value& self, const Arguments& arguments) {
  COPPICE_RETURN_IF_ERROR(bind("copy", arguments, {}).status());
  return self;
}

Result sequence_count(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("count", arguments, {"/value"}, 1));
  std::int64_t count = 0;
  for (const Value& item : as_sequence(self).items) {
    COPPICE_ASSIGN_OR_RETURN(bool same, equal(heap, item, bound.at(0)));
    count += same ? 1 : 0;
  }
  return Value(count);
}

Result sequence_index(Heap& heap, const Value& self, const Arguments& arguments) {
  COPPICE_ASSIGN_OR_RETURN(BoundArguments bound, bind("index", arguments, {"/value", "/start", "/stop"}, 1));
  const std::vector<Value>& items = as_sequence(self).items;
  const auto length = static_cast<std::int64_t>(items.size());
  COPPICE_ASSIGN_OR_RETURN(std::int64_t start, bound.integer(1, 0));
  COPPICE_ASSIGN_OR_RETURN(std::int64_t stop, bound.integer(2, length));
  start = std::max<std::int64_t>(0, start < 0 ? start + length : start);
  stop = std::min(length, stop < 0 ? stop + length : stop);
  for (std::int64_t i = start; i < stop; ++i) {
    COPPICE_ASSIGN_OR_RETURN(bool same, equal(heap, items[static_cast<std::size_t>(i)], bound.at(0)));
    if (same) {
      return Value(i);
    }
  }
  return template_error("index(): the value is not in the list");
}

constexpr auto kDictMethods = std::to_array<MethodName>({
    {"get", dict_get},
    {"items", dict_view<ObjectKind::kDictItems>},
    {"keys", dict_view<ObjectKind::kDictKeys>},
    {"values", dict_view<ObjectKind::kDictValues>},
    {"copy", copied},
    {"fromkeys", nullptr},
});
constexpr auto kListMethods =
    std::to_array<MethodName>({{"index", sequence_index}, {"count", sequence_count}, {"copy", copied}});
constexpr auto kTupleMethods = std::to_array<MethodName>({{"index", sequence_index}, {"count", sequence_count}});
// In Python, of no use to templates.
constexpr std::array<std::string_view, 4> kTextUnsupported = {"encode", "translate", "maketrans", "casefold"};
constexpr std::array<std::string_view, 5> kDictUnsafe = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::array<std::string_view, 8> kListUnsafe = {"append", "clear", "pop",    "reverse",
                                                         "insert", "sort",  "extend", "remove"};

bool among(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

MethodLookup find_in(std::span<const MethodName> table, std::string_view name) {
  for (const MethodName& entry : table) {
    if (entry.name == name) {
      return {true, false, entry.method};
    }
  }
  return {};
}

}  // namespace

MethodLookup find_method(const Value& object, std::string_view name) {
  if (object.is_string()) {
    Method method = find_text_method(name);
    method = method != nullptr ? method : find_text_search_method(name);
    return {method != nullptr || among(kTextUnsupported, name), false, method};
  }
  if (object.is_dict()) {
    return among(kDictUnsafe, name) ? MethodLookup{true, true, nullptr} : find_in(kDictMethods, name);
  }
  if (object.is_list()) {
    return among(kListUnsafe, name) ? MethodLookup{true, true, nullptr} : find_in(kListMethods, name);
  }
  return object.is_tuple() || object.is_object(ObjectKind::kRange) ? find_in(kTupleMethods, name) : MethodLookup{};
}

}  // namespace coppice::text
