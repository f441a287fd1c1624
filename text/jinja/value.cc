// Values: lookup in dicts, truth, length, type names.
#include "text/jinja/value.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace coppice::jinja {

StringData::~StringData() {
  if (budget != nullptr) {
    budget->release(footprint(text.size()));
  }
}

StringRef make_program_string(std::string text) {
  const std::size_t length = code_point_count(text);
  return std::make_shared<const StringData>(std::move(text), length, false, nullptr);
}

Value Value::from_unsigned(std::uint64_t value) {
  Value result(static_cast<std::int64_t>(value));
  if (value > static_cast<std::uint64_t>(INT64_MAX)) {
    result.data_ = value;
  }
  return result;
}

double Value::as_real() const {
  if (is_real()) {
    return std::get<double>(data_);
  }
  return is_unsigned() ? static_cast<double>(unsigned_integer()) : static_cast<double>(integer());
}

std::optional<std::size_t> Dictionary::find(const Value& key) const {
  if (key.is_string()) {
    const auto found = index.find(key.text());
    return found == index.end() ? std::nullopt : std::optional<std::size_t>(found->second);
  }
  for (std::size_t i = 0; has_other_keys && i < entries.size(); ++i) {
    if (same_key(entries[i].first, key)) {
      return i;
    }
  }
  return std::nullopt;
}

const Value* Dictionary::find(std::string_view key) const {
  const auto found = index.find(key);
  return found == index.end() ? nullptr : &entries[found->second].second;
}

std::int64_t Dictionary::find_steps(const Value& key) const {
  return 1 + (has_other_keys && !key.is_string() ? static_cast<std::int64_t>(entries.size()) : 0);
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
  if (value.is_number()) {
    return value.is_boolean() ? "bool" : value.is_real() ? "float" : "int";
  }
  return "str";
}

bool truthy(const Value& value) {
  if (value.is_number()) {
    return value.as_real() != 0.0;
  }
  if (value.is_none()) {
    return false;
  }
  const std::optional<std::int64_t> length = length_of(value);
  return !length || *length > 0;
}

std::optional<std::int64_t> length_of(const Value& value) {
  if (value.is_string()) {
    return static_cast<std::int64_t>(value.string()->length);
  }
  if (value.is_sequence()) {
    return static_cast<std::int64_t>(items_of(value).size());
  }
  if (value.is_dict()) {
    return static_cast<std::int64_t>(as_dict(value).entries.size());
  }
  return value.is_undefined() ? std::optional<std::int64_t>(0) : std::nullopt;
}

bool hashable(const Value& value) {
  return value.is_string() || value.is_number() || value.is_none() || value.is_undefined();
}

std::string undefined_problem(const Value& value) {
  const Undefined& undefined = value.undefined();
  const std::string_view name = undefined.name == nullptr ? std::string_view() : undefined.name->text;
  return fmt::format(fmt::runtime(undefined.problem), name);
}

}  // namespace coppice::jinja
