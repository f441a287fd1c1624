// Values: lookup in dicts, truth, type names.
#include "text/jinja/value.h"

#include <cmath>

#include <fmt/format.h>

#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace coppice::text {

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
  Value result;
  if (value <= static_cast<std::uint64_t>(INT64_MAX)) {
    result.data_ = static_cast<std::int64_t>(value);
  } else {
    result.data_ = value;
  }
  return result;
}

double Value::as_real() const {
  if (is_real()) {
    return real();
  }
  return is_unsigned() ? static_cast<double>(unsigned_integer()) : static_cast<double>(integer());
}

std::optional<std::size_t> Dictionary::find(const Value& key) const {
  if (key.is_string()) {
    const auto found = index.find(key.text());
    return found == index.end() ? std::nullopt : std::optional<std::size_t>(found->second);
  }
  if (!has_other_keys) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
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

namespace {

const char* object_type_name(const Object& object) {
  switch (object.kind) {
    case ObjectKind::kList:
      return "list";
    case ObjectKind::kTuple:
      return "tuple";
    case ObjectKind::kRange:
      return "range";
    case ObjectKind::kDictKeys:
      return "dict_keys";
    case ObjectKind::kDictValues:
      return "dict_values";
    case ObjectKind::kDictItems:
      return "dict_items";
    case ObjectKind::kDict:
      return "dict";
    case ObjectKind::kNamespace:
      return "Namespace";
    case ObjectKind::kIterator:
      return "generator";
    case ObjectKind::kCallable:
      return static_cast<const Callable&>(object).macro ? "Macro" : "function";
    case ObjectKind::kLoop:
      return "LoopContext";
  }
  return "object";
}

}  // namespace

const char* type_name(const Value& value) {
  if (value.is_none()) {
    return "NoneType";
  }
  if (value.is_undefined()) {
    return "Undefined";
  }
  if (value.is_boolean()) {
    return "bool";
  }
  if (value.is_integer() || value.is_unsigned()) {
    return "int";
  }
  if (value.is_real()) {
    return "float";
  }
  return value.is_string() ? "str" : object_type_name(*value.object());
}

bool truthy(const Value& value) {
  if (value.is_none() || value.is_undefined()) {
    return false;
  }
  if (value.is_number()) {
    return value.is_unsigned() || value.as_real() != 0.0;
  }
  if (value.is_string()) {
    return !value.text().empty();
  }
  if (value.is_dict()) {
    return !as_dict(value).entries.empty();
  }
  return !value.is_sequence() || !as_sequence(value).items.empty();
}

absl::Status undefined_error(const Value& value) {
  const Undefined& undefined = value.undefined();
  std::string_view name;
  if (undefined.name != nullptr) {
    name = undefined.name->text;
  }
  switch (undefined.absence) {
    case Absence::kVariable:
      return template_error(fmt::format("'{}' is undefined", name));
    case Absence::kAttribute:
      return template_error(fmt::format("the object has no attribute or element '{}'", name));
    case Absence::kUnsafe:
      return template_error(fmt::format("access to attribute '{}' is not allowed", name));
    case Absence::kHint:
      break;
  }
  return template_error(std::string(name));
}

absl::Status template_error(std::string message) {
  return absl::InvalidArgumentError(std::move(message));
}

}  // namespace coppice::text
