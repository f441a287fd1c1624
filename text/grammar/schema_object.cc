// What the walk makes of objects.
#include <set>
#include <utility>

#include "base/status_macros.h"
#include "text/grammar/expression.h"
#include "text/grammar/schema_walk.h"

namespace coppice::text {
namespace {

bool is_closed(const SchemaJson& in) {
  const char* const keyword = in.contains("additionalProperties") ? "additionalProperties" : "unevaluatedProperties";
  return in.contains(keyword) && in[keyword] == false;
}

}  // namespace

absl::StatusOr<SchemaJson> SchemaWalk::object(const SchemaJson& in, const SchemaPlace& place) {
  for (const char* keyword : {"properties", "patternProperties"}) {
    if (in.contains(keyword) && !in[keyword].is_object()) {
      return schema_error(place, std::string("`") + keyword + "` must be an object");
    }
  }
  if (in.contains("required") && !in["required"].is_array()) {
    return schema_error(place, "`required` must be a list");
  }
  SchemaJson out = {{"type", "object"}};
  COPPICE_RETURN_IF_ERROR(properties(in, out, place));
  if (in.contains("patternProperties") || in.contains("propertyNames")) {
    COPPICE_RETURN_IF_ERROR(named_by_pattern(in, out, place));
  } else {
    COPPICE_RETURN_IF_ERROR(additional(in, out, place));
  }
  COPPICE_RETURN_IF_ERROR(property_counts(in, out, place));
  return out;
}

absl::Status SchemaWalk::properties(const SchemaJson& in, SchemaJson& out, const SchemaPlace& place) {
  SchemaJson declared = SchemaJson::object();
  if (in.contains("properties")) {
    for (const auto& [name, property] : in["properties"].items()) {
      COPPICE_ASSIGN_OR_RETURN(declared[name], schema(property, place.at("properties").at(name)));
    }
  }
  SchemaJson required = SchemaJson::array();
  for (const SchemaJson& name : in.contains("required") ? in["required"] : SchemaJson::array()) {
    if (!name.is_string()) {
      return schema_error(place, "`required` must be a list of strings");
    }
    if (!declared.contains(name.get<std::string>())) {
      // The engine passes over names that are not declared.
      if (is_closed(in)) {
        return schema_error(place, "`required` has a name that `additionalProperties` excludes");
      }
      if (in.contains("patternProperties") || in.contains("propertyNames")) {
        not_enforced(place, "required", "of undeclared names, is not enforced beside other rules for names");
        continue;
      }
      const SchemaJson other = in.contains("additionalProperties") ? in["additionalProperties"] : SchemaJson(true);
      COPPICE_ASSIGN_OR_RETURN(declared[name.get<std::string>()], schema(other, place.at("additionalProperties")));
    }
    required.push_back(name);
  }
  // A property that accepts nothing may not come: it is left out, and its name is excluded from the others.
  for (auto row = declared.begin(); row != declared.end();) {
    if (!row.value().is_boolean()) {
      ++row;
      continue;
    }
    if (std::find(required.begin(), required.end(), SchemaJson(row.key())) != required.end()) {
      return schema_error(place, "a required property accepts no value");
    }
    row = declared.erase(row);
  }
  const auto optional = static_cast<std::int64_t>(declared.size() - std::min(declared.size(), required.size()));
  optional_squares_ += optional * optional;
  if (optional_squares_ > limits_.optional_squares_max) {
    return absl::OutOfRangeError(shown_pointer(place.pointer) +
                                 ": the schema has too many properties that are not `required`; 500 in one object, or "
                                 "100 in each of 25, are the most");
  }
  if (!declared.empty()) {
    out["properties"] = std::move(declared);
  }
  if (!required.empty()) {
    out["required"] = std::move(required);
  }
  return absl::OkStatus();
}

absl::Status SchemaWalk::additional(const SchemaJson& in, SchemaJson& out, const SchemaPlace& place) {
  const char* keyword = in.contains("additionalProperties")    ? "additionalProperties"
                        : in.contains("unevaluatedProperties") ? "unevaluatedProperties"
                                                               : nullptr;
  const bool declares = in.contains("properties") && !in["properties"].empty();
  SchemaJson other = SchemaJson::object();
  if (keyword != nullptr) {
    COPPICE_ASSIGN_OR_RETURN(other, schema(in[keyword], place.at(keyword)));
  } else if (declares) {
    other = false;
  }
  // All names that the schema speaks of, those that accept nothing too.
  std::vector<std::string> names;
  for (const SchemaJson* source : {&in, static_cast<const SchemaJson*>(&out)}) {
    if (source->contains("properties")) {
      for (const auto& [name, unused] : (*source)["properties"].items()) {
        names.push_back(name);
      }
    }
  }
  if (other.is_boolean() || names.empty()) {
    out["additionalProperties"] = other.is_boolean() ? SchemaJson(false) : std::move(other);
    return absl::OkStatus();
  }
  for (const std::string& name : names) {
    expression_size_ += kWideClassSize * static_cast<std::int64_t>(name.size());
  }
  COPPICE_RETURN_IF_ERROR(check_expressions(place));
  out["patternProperties"] = SchemaJson{{expression_of_other_names(names), std::move(other)}};
  out["additionalProperties"] = false;
  return absl::OkStatus();
}

absl::Status SchemaWalk::named_by_pattern(const SchemaJson& in, SchemaJson& out, const SchemaPlace& place) {
  const bool has_patterns = in.contains("patternProperties") && !in["patternProperties"].empty();
  const bool has_names = in.contains("propertyNames");
  const bool stands_alone = !out.contains("properties") && !(has_patterns && has_names);
  const bool has_others = in.contains("additionalProperties") && in["additionalProperties"] != false;
  if (has_patterns && stands_alone && !has_others && in["patternProperties"].size() == 1) {
    const auto row = in["patternProperties"].items().begin();
    const absl::StatusOr<std::string> written =
        expression(row.key(), ExpressionMatch::kSearch, place, "patternProperties");
    if (absl::IsOutOfRange(written.status())) {
      return written.status();
    }
    COPPICE_ASSIGN_OR_RETURN(SchemaJson value, schema(row.value(), place.at("patternProperties").at(row.key())));
    if (written.ok() && !written->empty() && !value.is_boolean()) {
      out["patternProperties"] = SchemaJson{{*written, std::move(value)}};
      out["additionalProperties"] = false;
      return absl::OkStatus();
    }
  }
  if (!has_patterns && stands_alone && !is_closed(in)) {
    SchemaJson names = in["propertyNames"];
    if (names.is_object() && !names.contains("type")) {
      names["type"] = "string";
    }
    COPPICE_ASSIGN_OR_RETURN(SchemaJson name, schema(names, place.at("propertyNames")));
    if (name.is_object() && name.contains("$ref")) {  // a large pattern
      name = definitions_json_[name["$ref"].get<std::string>().substr(std::string_view("#/$defs/").size())];
    }
    COPPICE_RETURN_IF_ERROR(additional(in, out, place));
    // Names given by an expression or a list; others could have any form here.
    if (name.is_object() && (name.contains("pattern") || name.contains("enum"))) {
      out["propertyNames"] = std::move(name);
      return absl::OkStatus();
    }
    if (name == SchemaJson{{"type", "string"}}) {
      return absl::OkStatus();
    }
  }
  if (has_patterns) {
    not_enforced(place, "patternProperties", "only one pattern in an object without other rules for names");
  }
  if (has_names) {
    not_enforced(place, "propertyNames", "only in an object without other rules for names");
  }
  return additional(in, out, place);
}

absl::Status SchemaWalk::property_counts(const SchemaJson& in, SchemaJson& out, const SchemaPlace& place) {
  COPPICE_ASSIGN_OR_RETURN(const std::int64_t min, count(in, "minProperties", place));
  COPPICE_ASSIGN_OR_RETURN(const std::int64_t max, count(in, "maxProperties", place));
  const auto size = [&](const char* keyword) {
    return out.contains(keyword) ? static_cast<std::int64_t>(out[keyword].size()) : 0;
  };
  const bool is_fixed = is_closed(out) && !out.contains("patternProperties");
  if (min > size("required")) {
    not_enforced(place, "minProperties", "only as many as `required` names");
  }
  if (max < 0 || (is_fixed && max >= size("properties"))) {
    return absl::OkStatus();
  }
  if (size("properties") > 0) {
    not_enforced(place, "maxProperties", "is not enforced beside `properties`");
  } else {
    out["maxProperties"] = max;
  }
  return absl::OkStatus();
}

}  // namespace coppice::text
