// Making values, and turning the JSON context into them.
#include "text/jinja/heap.h"

#include <fmt/format.h>

#include "text/jinja/unicode.h"

namespace coppice::jinja {
namespace {

constexpr std::size_t kEntryBytes = 2 * sizeof(Value) + 48;  // a dict entry: the pair and its node in the index
constexpr std::size_t kClosureBytes = 64;                    // of what a std::function captures: a few values

Value made(Object* object) {
  return object == nullptr ? Value() : Value(object);
}

}  // namespace

Value Heap::fail(std::string message) {
  budget_.fail(absl::InvalidArgumentError(std::move(message)));
  return Value();
}

Value Heap::fail_type(std::string_view what, const Value& value) {
  return fail(value.is_undefined() ? undefined_problem(value) : fmt::format("{}, not '{}'", what, type_name(value)));
}

Value Heap::fail_overflow() {
  budget_.fail_exhausted("an integer leaves the 64-bit range");
  return Value();
}

Value Heap::string(std::string text, bool markup) {
  if (!budget_.charge_text(text.size()) || !budget_.reserve(StringData::footprint(text.size()))) {
    return Value();
  }
  const std::size_t length = code_point_count(text);
  return Value(std::make_shared<const StringData>(std::move(text), length, markup, &budget_));
}

Value Heap::sequence(ObjectKind kind, std::vector<Value> items) {
  const std::size_t bytes = items.size() * sizeof(Value);
  return made(make<Sequence>(bytes, kind, std::move(items)));
}

Value Heap::dict(std::vector<std::pair<Value, Value>> entries) {
  auto* const dictionary = make<Dictionary>(0);
  for (std::size_t i = 0; dictionary != nullptr && i < entries.size(); ++i) {
    assign(*dictionary, entries[i].first, std::move(entries[i].second));
  }
  return made(dictionary);
}

void Heap::assign(Dictionary& dictionary, const Value& key, Value value) {
  if (!hashable(key)) {
    fail_type("a dict key must be a string, a number or none in chat templates", key);
  }
  if (!budget_.charge(dictionary.find_steps(key))) {
    return;
  }
  if (const auto found = dictionary.find(key)) {
    dictionary.entries[*found].second = std::move(value);
    return;
  }
  if (!budget_.reserve(kEntryBytes)) {
    return;
  }
  if (key.is_string()) {
    dictionary.index.emplace(key.text(), dictionary.entries.size());
  } else {
    dictionary.has_other_keys = true;
  }
  dictionary.entries.emplace_back(key, std::move(value));
}

Value Heap::iterator(Iterator::Next next) {
  return made(make<Iterator>(kClosureBytes, std::move(next)));
}

Value Heap::iterator_over(std::vector<Value> items) {
  return iterator([held = list(std::move(items)), i = std::size_t{0}]() mutable {
    return held.is_sequence() && i < items_of(held).size() ? std::optional<Value>(items_of(held)[i++]) : std::nullopt;
  });
}

Value Heap::callable(Callable::Body body) {
  return made(make<Callable>(kClosureBytes, std::move(body)));
}

Value Heap::from_json(const nlohmann::ordered_json& json, int depth) {
  if (!budget_.check_value_depth(depth)) {
    return Value();
  }
  if (json.is_string()) {
    const auto& text = json.get_ref<const std::string&>();
    return valid_utf8(text) ? string(text) : fail("a string of the context is not UTF-8");
  }
  if (json.is_object()) {
    std::vector<std::pair<Value, Value>> entries;
    entries.reserve(json.size());
    for (const auto& [name, element] : json.items()) {
      entries.emplace_back(valid_utf8(name) ? string(name) : fail("a key of the context is not UTF-8"),
                           from_json(element, depth + 1));
    }
    return dict(std::move(entries));
  }
  if (json.is_array()) {
    std::vector<Value> items;
    items.reserve(json.size());
    for (const auto& element : json) {
      items.push_back(from_json(element, depth + 1));
    }
    return list(std::move(items));
  }
  if (json.is_null() || json.is_boolean()) {
    return json.is_null() ? Value() : Value(json.get<bool>());
  }
  if (json.is_number_float()) {
    return Value(json.get<double>());
  }
  if (json.is_number_unsigned()) {
    return Value::from_unsigned(json.get<std::uint64_t>());
  }
  return json.is_number() ? Value(json.get<std::int64_t>()) : fail("the context holds a value that is not JSON");
}

}  // namespace coppice::jinja
