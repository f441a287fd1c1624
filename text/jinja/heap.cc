// Values: what they are, how they are made and what they cost, and the JSON context turned into them.
#include "text/jinja/heap.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include <fmt/format.h>

#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"
#include "text/utf8.h"

namespace coppice::jinja {

bool Budget::reserve(std::size_t bytes) {
  if (bytes > limits_.value_bytes_max - held_bytes_) {
    fail_exhausted(fmt::format("values need more than {} bytes of memory", limits_.value_bytes_max));
  }
  held_bytes_ += failed() ? 0 : bytes;
  return !failed();
}

bool Budget::enter() {
  if (++depth_ > limits_.evaluation_depth_max) {
    fail_exhausted(fmt::format("evaluation is nested deeper than {} levels", limits_.evaluation_depth_max));
  }
  return !failed();
}

bool Budget::check_value_depth(int depth) {
  if (depth > limits_.value_depth_max) {
    fail_exhausted(fmt::format("a value is nested deeper than {} levels", limits_.value_depth_max));
  }
  return !failed();
}

bool Budget::steps_exceeded() {
  fail_exhausted(fmt::format("rendering takes more than {} steps", limits_.steps_max));
  return false;
}

StringData::StringData(std::string text_in, bool markup_in, Budget* budget_in)
    : text(std::move(text_in)), length(code_point_count(text)), markup(markup_in), budget(budget_in) {}

StringData::~StringData() {
  if (budget != nullptr) {
    budget->release(footprint(text.capacity()));
  }
}

StringRef make_program_string(std::string text) {
  return std::make_shared<const StringData>(std::move(text), false, nullptr);
}

double Value::as_real() const {
  if (is_real()) {
    return std::get<double>(data_);
  }
  return is_large() ? std::strtod(digits().c_str(), nullptr) : static_cast<double>(integer());
}

Value* Dictionary::find(Budget& budget, const Value& key) {
  if (key.is_string()) {
    const auto found = budget.charge_copy(key.text().size()) ? index.find(key.text()) : index.end();
    return found == index.end() ? nullptr : &entries[found->second].second;
  }
  for (std::size_t i = 0; has_other_keys && i < entries.size() && budget.charge(1); ++i) {
    if (same_key(entries[i].first, key)) {
      return &entries[i].second;
    }
  }
  return nullptr;
}

std::string_view type_name(const Value& value) {
  static constexpr std::array<std::string_view, 11> kNames = {"list",        "tuple",      "range",      "dict_keys",
                                                              "dict_values", "dict_items", "dict",       "Namespace",
                                                              "generator",   "function",   "LoopContext"};
  if (value.is_object()) {
    return kNames[static_cast<std::size_t>(value.object()->kind)];
  }
  if (value.is_none() || value.is_undefined()) {
    return value.is_none() ? "NoneType" : "Undefined";
  }
  return value.is_string() ? "str" : value.is_boolean() ? "bool" : value.is_real() ? "float" : "int";
}

bool truthy(const Value& value) {
  if (value.is_number()) {
    return value.as_real() != 0.0;
  }
  const std::optional<std::int64_t> length = length_of(value);
  return !value.is_none() && (!length || *length > 0);
}

std::optional<std::int64_t> length_of(const Value& value) {
  if (value.is_string()) {
    return static_cast<std::int64_t>(value.string()->length);
  }
  if (value.is_sequence() || value.is_dict()) {
    return static_cast<std::int64_t>(value.is_dict() ? as_dict(value).entries.size() : items_of(value).size());
  }
  return value.is_undefined() ? std::optional<std::int64_t>(0) : std::nullopt;
}

std::string undefined_problem(const Value& value) {
  const Undefined& undefined = value.undefined();
  const std::string_view name = undefined.name == nullptr ? std::string_view() : undefined.name->text;
  return fmt::format(fmt::runtime(undefined.problem), name);
}

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

Value Heap::string(std::string_view text, bool markup) {
  return TextBuilder(*this).append(text).finish(markup);
}

Value Heap::large_integer(std::string_view digits) {
  const Value text = string(digits);
  return text.is_string() ? Value(LargeInteger{text.string()}) : text;
}

Value Heap::sequence(ObjectKind kind, std::vector<Value> items) {
  auto& made = make<Sequence>(kind);
  if (budget_.reserve(items.capacity() * sizeof(Value))) {
    made.items = std::move(items);
  }
  return Value(&made);
}

bool Heap::push(Sequence& sequence, Value item) {
  std::vector<Value>& items = sequence.items;
  if (items.size() == items.capacity()) {
    const std::size_t capacity = items.size() + items.size() / 2 + 4;
    if (!budget_.reserve(capacity * sizeof(Value))) {
      return false;
    }
    const std::size_t before = items.capacity();
    items.reserve(capacity);
    budget_.release(before * sizeof(Value));
  }
  items.push_back(std::move(item));
  return budget_.charge(1);
}

void Heap::assign(Dictionary& dictionary, const Value& key, Value value) {
  // The pair, in a vector that may be half empty, and its node in the index.
  constexpr std::size_t kEntryBytes = 4 * sizeof(Value) + 64;
  if (!key.is_string() && !key.is_number() && !key.is_none() && !key.is_undefined()) {
    fail_type("a dict key must be a string, a number or none in chat templates", key);
  } else if (Value* const found = dictionary.find(budget_, key)) {
    *found = std::move(value);
  } else if (budget_.charge(1) && budget_.reserve(kEntryBytes)) {
    dictionary.has_other_keys |= !key.is_string();
    dictionary.entries.emplace_back(key, std::move(value));
    if (key.is_string()) {
      dictionary.index.emplace(key.text(), dictionary.entries.size() - 1);
    }
  }
}

Value Heap::iterator(Iterator::Next next) {
  return Value(&make<Iterator>(std::move(next)));
}

Value Heap::callable(Callable::Body body) {
  return Value(&make<Callable>(std::move(body)));
}

Value Heap::from_json(const nlohmann::ordered_json& json, int depth) {
  if (!budget_.check_value_depth(depth)) {
    return Value();
  }
  if (json.is_string()) {
    const auto& text = json.get_ref<const std::string&>();
    return text::is_valid_utf8(text) ? string(text) : fail("a string of the context is not UTF-8");
  }
  if (json.is_object()) {
    auto& dictionary = make<Dictionary>();
    for (auto entry = json.begin(); entry != json.end() && !budget_.failed(); ++entry) {
      const bool valid = text::is_valid_utf8(entry.key());
      const Value name = valid ? string(entry.key()) : fail("a key of the context is not UTF-8");
      assign(dictionary, name, from_json(entry.value(), depth + 1));
    }
    return Value(&dictionary);
  }
  if (json.is_array()) {
    auto& list = make<Sequence>(ObjectKind::kList);
    for (auto item = json.begin(); item != json.end() && push(list, from_json(*item, depth + 1)); ++item) {
    }
    return Value(&list);
  }
  if (json.is_null() || json.is_boolean()) {
    return json.is_null() ? Value() : Value(json.get<bool>());
  }
  if (json.is_number_float()) {
    return Value(json.get<double>());
  }
  if (json.is_binary()) {
    return large_integer(std::string(json.get_binary().begin(), json.get_binary().end()));
  }
  if (json.is_number_unsigned() && json.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
    return large_integer(fmt::format("{}", json.get<std::uint64_t>()));
  }
  return json.is_number() ? Value(json.get<std::int64_t>()) : fail("the context holds a value that is not JSON");
}

TextBuilder& TextBuilder::append(std::string_view text) {
  const std::size_t size = text_.size() + text.size();
  if (!heap_.budget().charge_copy(text.size())) {
    return *this;
  }
  if (size > text_.capacity()) {
    const std::size_t capacity = std::max(size, text_.size() + text_.size() / 2);
    if (!heap_.budget().reserve(capacity)) {
      return *this;
    }
    text_.reserve(capacity);
    heap_.budget().release(std::exchange(held_, capacity));
  }
  text_.append(text);
  return *this;
}

Value TextBuilder::finish(bool markup) {
  Budget& budget = heap_.budget();
  budget.release(std::exchange(held_, 0));
  if (!budget.reserve(StringData::footprint(text_.capacity()))) {
    return Value();
  }
  return Value(std::make_shared<const StringData>(std::move(text_), markup, &budget));
}

}  // namespace coppice::jinja
