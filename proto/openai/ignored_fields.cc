// Names only: what a client wrote never reaches a header unless it is a plain word.
#include "proto/openai/ignored_fields.h"

#include <algorithm>

#include "proto/openai/json_reader.h"

namespace coppice::openai {
namespace {

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

bool is_harmless(const Json& value, std::string_view harmless) {
  return is_empty(value) || (!harmless.empty() && !value.is_structured() && value.dump() == harmless);
}

}  // namespace

void IgnoredFields::add(std::string_view name) {
  if (name.empty() || name.size() > kNameBytesMax || names_.size() == kNamesMax ||
      !std::all_of(name.begin(), name.end(), is_plain) ||
      std::find(names_.begin(), names_.end(), name) != names_.end()) {
    return;
  }
  names_.emplace_back(name);
}

void IgnoredFields::add_present(const FieldReader& reader, std::span<const IgnoredField> table) {
  for (const IgnoredField& field : table) {
    const Json* const value = reader.find(field.name);
    if (value != nullptr && !is_harmless(*value, field.harmless)) {
      add(reader.full_name(field.name));
    }
  }
}

std::string IgnoredFields::header() const {
  std::string text;
  for (const std::string& name : names_) {
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

}  // namespace coppice::openai
