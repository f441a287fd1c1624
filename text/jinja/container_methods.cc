// Methods of dict, list and tuple, and what each type's methods are.
#include <algorithm>
#include <array>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"

namespace coppice::jinja {
namespace {

template <ObjectKind kind>
Value dict_view(Heap& heap, const Value& self, const Bound&) {
  std::vector<Value> items;
  for (const auto& [key, value] : as_dict(self).entries) {
    if (!heap.budget().charge(1)) {
      break;
    }
    items.push_back(kind == ObjectKind::kDictItems  ? heap.tuple({key, value})
                    : kind == ObjectKind::kDictKeys ? key
                                                    : value);
  }
  return heap.sequence(kind, std::move(items));
}

Value dict_get(Heap& heap, const Value& self, const Bound& arguments) {
  const auto found = contains(heap, self, arguments.at(0)) ? as_dict(self).find(arguments.at(0)) : std::nullopt;
  return found ? as_dict(self).entries[*found].second : arguments.value(1);
}

// Objects are immutable, so a copy need not be another object.
Value copied(Heap&, const Value& self, const Bound&) {
  return self;
}

template <bool counts>
Value occurrences(Heap& heap, const Value& self, const Bound& arguments) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < items_of(self).size(); ++i) {
    const bool found = equal(heap, items_of(self)[i], arguments.at(0));
    if (found && !counts) {
      return Value(static_cast<std::int64_t>(i));
    }
    count += found ? 1 : 0;
  }
  return counts ? Value(count) : heap.fail("index(): the value is not in the list");
}

constexpr auto kDictMethods = std::to_array<Builtin>({
    {"get", dict_get, {"key", "default"}, 1},
    {"items", dict_view<ObjectKind::kDictItems>},
    {"keys", dict_view<ObjectKind::kDictKeys>},
    {"values", dict_view<ObjectKind::kDictValues>},
    {"copy", copied},
});
constexpr auto kSequenceMethods = std::to_array<Builtin>({
    {"index", occurrences<false>, {"value"}, 1},
    {"count", occurrences<true>, {"value"}, 1},
    {"copy", copied},  // last: of lists only
});
constexpr std::array<std::string_view, 5> kDictMutating = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::array<std::string_view, 8> kListMutating = {"append", "clear", "pop",    "reverse",
                                                           "insert", "sort",  "extend", "remove"};

constexpr std::array<std::string_view, 18> kTextUnsupported = {
    "casefold", "encode",    "expandtabs",   "format_map", "isalnum",   "isalpha",
    "isascii",  "isdecimal", "isidentifier", "islower",    "isnumeric", "isprintable",
    "istitle",  "isupper",   "maketrans",    "swapcase",   "translate", "zfill"};

bool is_among(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

const Builtin* find_method(const Value& object, std::string_view name) {
  if (object.is_string()) {
    return find_in(text_methods(), name);
  }
  if (object.is_dict()) {
    return find_in(kDictMethods, name);
  }
  const BuiltinTable methods = kSequenceMethods;
  return object.is_indexable() ? find_in(object.is(ObjectKind::kList) ? methods : methods.first(2), name) : nullptr;
}

bool is_mutating_method(const Value& object, std::string_view name) {
  return object.is_dict() ? is_among(kDictMutating, name)
                          : object.is(ObjectKind::kList) && is_among(kListMutating, name);
}

bool is_unsupported_method(const Value& object, std::string_view name) {
  return object.is_string() ? is_among(kTextUnsupported, name) : object.is_dict() && name == "fromkeys";
}

}  // namespace coppice::jinja
