// Making values, and turning the JSON context into them.
#include "text/jinja/heap.h"

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace coppice::text {
namespace {

// A dict entry: the pair and its place in the index.
constexpr std::size_t kEntryBytes = 2 * sizeof(Value) + 48;

}  // namespace

Result Heap::string(std::string text, bool markup) {
  COPPICE_RETURN_IF_ERROR(budget_.charge_text(text.size()));
  COPPICE_RETURN_IF_ERROR(budget_.reserve(StringData::footprint(text.size())));
  const std::size_t length = code_point_count(text);
  return Value(std::make_shared<const StringData>(std::move(text), length, markup, &budget_));
}

Result Heap::sequence(ObjectKind kind, std::vector<Value> items) {
  const std::size_t bytes = items.size() * sizeof(Value);
  COPPICE_ASSIGN_OR_RETURN(Sequence * object, make<Sequence>(bytes, kind, std::move(items)));
  return Value(object);
}

Result Heap::range(std::int64_t start, std::int64_t stop, std::int64_t step, std::vector<Value> items) {
  COPPICE_ASSIGN_OR_RETURN(Value value, sequence(ObjectKind::kRange, std::move(items)));
  auto& shown = static_cast<Sequence&>(*value.object()).range;
  shown = {start, stop};
  if (step != 1) {
    shown.push_back(step);
  }
  return value;
}

Result Heap::dict(std::vector<std::pair<Value, Value>> entries) {
  COPPICE_ASSIGN_OR_RETURN(Dictionary * dictionary, make<Dictionary>(0));
  dictionary->entries.reserve(entries.size());
  for (auto& [key, value] : entries) {
    if (!hashable(key)) {
      return template_error(fmt::format("a '{}' cannot be a dict key", type_name(key)));
    }
    COPPICE_RETURN_IF_ERROR(assign(*dictionary, key, std::move(value)));
  }
  return Value(dictionary);
}

absl::Status Heap::assign(Dictionary& dictionary, const Value& key, Value value) {
  const bool scans = !key.is_string() && dictionary.has_other_keys;
  COPPICE_RETURN_IF_ERROR(budget_.charge(1 + (scans ? static_cast<std::int64_t>(dictionary.entries.size()) : 0)));
  if (const auto found = dictionary.find(key)) {
    dictionary.entries[*found].second = std::move(value);
    return absl::OkStatus();
  }
  COPPICE_RETURN_IF_ERROR(budget_.reserve(kEntryBytes));
  if (key.is_string()) {
    dictionary.index.emplace(key.text(), dictionary.entries.size());
  } else {
    dictionary.has_other_keys = true;
  }
  dictionary.entries.emplace_back(key, std::move(value));
  return absl::OkStatus();
}

Result Heap::iterator(const char* name, Iterator::Next next) {
  COPPICE_ASSIGN_OR_RETURN(Iterator * object, make<Iterator>(64, name, std::move(next)));
  return Value(object);
}

Result Heap::callable(std::string name, Callable::Body body) {
  COPPICE_ASSIGN_OR_RETURN(Callable * object, make<Callable>(64, std::move(name), std::move(body)));
  return Value(object);
}

Result Heap::from_json(const nlohmann::ordered_json& json) {
  return from_json_at(json, 0);
}

Result Heap::from_json_at(const nlohmann::ordered_json& json, int depth) {
  using Type = nlohmann::ordered_json::value_t;
  if (depth > limits().value_depth_max) {
    return absl::ResourceExhaustedError(
        fmt::format("the context is nested deeper than {} levels", limits().value_depth_max));
  }
  switch (json.type()) {
    case Type::null:
      return Value();
    case Type::boolean:
      return Value(json.get<bool>());
    case Type::number_integer:
      return Value(json.get<std::int64_t>());
    case Type::number_unsigned:
      return Value::from_unsigned(json.get<std::uint64_t>());
    case Type::number_float:
      return Value(json.get<double>());
    case Type::string: {
      const auto& text = json.get_ref<const std::string&>();
      if (!valid_utf8(text)) {
        return template_error("a string of the context is not UTF-8");
      }
      return string(text);
    }
    case Type::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& element : json) {
        COPPICE_ASSIGN_OR_RETURN(Value item, from_json_at(element, depth + 1));
        items.push_back(std::move(item));
      }
      return list(std::move(items));
    }
    case Type::object: {
      std::vector<std::pair<Value, Value>> entries;
      entries.reserve(json.size());
      for (const auto& [name, element] : json.items()) {
        if (!valid_utf8(name)) {
          return template_error("a key of the context is not UTF-8");
        }
        COPPICE_ASSIGN_OR_RETURN(Value key, string(name));
        COPPICE_ASSIGN_OR_RETURN(Value value, from_json_at(element, depth + 1));
        entries.emplace_back(std::move(key), std::move(value));
      }
      return dict(std::move(entries));
    }
    case Type::binary:
    case Type::discarded:
      break;
  }
  return template_error("the context holds a value that is not JSON");
}

}  // namespace coppice::text
