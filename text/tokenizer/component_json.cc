// Patterns of tokenizer.json.
#include "text/tokenizer/component_json.h"

#include <string>

#include "fmt/format.h"

namespace coppice::text {

absl::StatusOr<Pattern> pattern_field(const Json& object, std::string_view key, std::string_view where) {
  const Json* pattern = find_member(object, key);
  const std::string place = fmt::format("{}.{}", where, key);
  if (pattern == nullptr || !pattern->is_object() || pattern->size() != 1) {
    return invalid_field(place, R"(must be {"String": ...} or {"Regex": ...})");
  }
  const std::string& kind = pattern->begin().key();
  const Json& value = pattern->begin().value();
  if (!value.is_string() || (kind != "String" && kind != "Regex")) {
    return invalid_field(place, R"(must be {"String": ...} or {"Regex": ...})");
  }
  const std::string source = value.get<std::string>();
  if (source.empty()) {
    return invalid_field(place, "must not be empty");
  }
  absl::StatusOr<Pattern> compiled = kind == "String" ? Pattern::compile_literal(source) : Pattern::compile(source);
  if (!compiled.ok()) {
    return invalid_field(place, std::string(compiled.status().message()));
  }
  return compiled;
}

}  // namespace coppice::text
