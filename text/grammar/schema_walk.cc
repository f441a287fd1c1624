// The walk itself: references, values, branches, and what a schema without `type` speaks of.
#include "text/grammar/schema_walk.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <set>
#include <utility>

#include "base/status_macros.h"

namespace coppice::text {
namespace {

// The engine reads numbers as 64-bit integers with a sign, or as doubles.
bool is_exact_in_engine(const SchemaJson& value) {
  constexpr double kExactMax = 9007199254740992.0;  // 2^53: integers up to it are exact as doubles
  if (value.is_number_unsigned()) {
    return value.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX);
  }
  return !value.is_number_float() || std::abs(value.get<double>()) < kExactMax;
}

// Never enforced, in no combination.
constexpr std::array<const char*, 11> kNever = {
    "not",          "if",       "then",        "else",          "dependentRequired", "dependentSchemas",
    "dependencies", "contains", "$dynamicRef", "$recursiveRef", "additionalItems"};

struct TypeOfKeyword {
  const char* keyword;
  const char* type;
};

// Keywords that speak of one type.
constexpr std::array<TypeOfKeyword, 24> kTypedKeywords = {{
    {"pattern", "string"},
    {"format", "string"},
    {"minLength", "string"},
    {"maxLength", "string"},
    {"minimum", "number"},
    {"maximum", "number"},
    {"exclusiveMinimum", "number"},
    {"exclusiveMaximum", "number"},
    {"multipleOf", "number"},
    {"items", "array"},
    {"prefixItems", "array"},
    {"minItems", "array"},
    {"maxItems", "array"},
    {"uniqueItems", "array"},
    {"unevaluatedItems", "array"},
    {"properties", "object"},
    {"required", "object"},
    {"additionalProperties", "object"},
    {"patternProperties", "object"},
    {"propertyNames", "object"},
    {"minProperties", "object"},
    {"maxProperties", "object"},
    {"unevaluatedProperties", "object"},
    {"minContains", "array"},
}};

bool is_assertion(const std::string& keyword) {
  const auto is = [&](const auto& row) { return keyword == row.keyword; };
  return keyword == "type" || keyword == "enum" || keyword == "const" || keyword == "anyOf" || keyword == "oneOf" ||
         keyword == "allOf" || keyword == "$ref" || std::any_of(kTypedKeywords.begin(), kTypedKeywords.end(), is);
}

}  // namespace

SchemaPlace SchemaPlace::at(std::string_view token) const {
  SchemaPlace below{pointer + "/", depth + 1};
  for (const char c : token) {
    below.pointer += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  }
  return below;
}

absl::Status schema_error(const SchemaPlace& place, const std::string& message) {
  return absl::InvalidArgumentError(shown_pointer(place.pointer) + ": " + message);
}

void SchemaWalk::not_enforced(const SchemaPlace& place, std::string_view keyword, std::string_view reason) {
  const auto is_same = [&](const UnenforcedKeyword& row) {
    return row.pointer == place.pointer && row.keyword == keyword;
  };
  if (std::none_of(unenforced_.begin(), unenforced_.end(), is_same)) {
    unenforced_.push_back({place.pointer, std::string(keyword), std::string(reason)});
  }
}

absl::Status SchemaWalk::count_nodes(const SchemaPlace& place, std::int64_t nodes) {
  nodes_ += nodes;
  if (nodes_ > limits_.nodes_max) {
    return absl::OutOfRangeError(shown_pointer(place.pointer) + ": the schema has more than " +
                                 std::to_string(limits_.nodes_max) + " schemas and values");
  }
  if (place.depth > limits_.depth_max * 2) {  // a schema's keyword and its key are two steps
    return absl::OutOfRangeError(shown_pointer(place.pointer) + ": schemas are nested deeper than " +
                                 std::to_string(limits_.depth_max));
  }
  return absl::OkStatus();
}

absl::StatusOr<CheckedSchema> SchemaWalk::run() {
  COPPICE_ASSIGN_OR_RETURN(SchemaJson out, schema(root_, SchemaPlace{}));
  if (out.is_boolean() && !out.get<bool>()) {
    return schema_error(SchemaPlace{}, "accepts no value");
  }
  if (!definitions_json_.empty()) {
    if (!out.is_object()) {
      out = SchemaJson::object();
    }
    out["$defs"] = std::move(definitions_json_);
  }
  CheckedSchema checked;
  checked.json = out.dump(-1, ' ', false, SchemaJson::error_handler_t::replace);
  checked.unenforced = std::move(unenforced_);
  return checked;
}

absl::StatusOr<SchemaJson> SchemaWalk::schema(const SchemaJson& in, const SchemaPlace& place) {
  COPPICE_RETURN_IF_ERROR(count_nodes(place, 1));
  if (in.is_boolean()) {
    return in.get<bool>() ? SchemaJson::object() : in;
  }
  if (!in.is_object()) {
    return schema_error(place, "a schema must be an object or a boolean");
  }
  for (const char* keyword : kNever) {
    if (in.contains(keyword)) {
      not_enforced(place, keyword, "is not enforced");
    }
  }
  if (in.contains("$id") && place.depth > 0) {
    not_enforced(place, "$id", "references are resolved in the whole document");
  }
  return object_schema(in, place);
}

absl::StatusOr<SchemaJson> SchemaWalk::object_schema(const SchemaJson& in, const SchemaPlace& place) {
  // Of these the engine reads one and passes over what stands beside it.
  const char* ruling = nullptr;
  for (const char* keyword : {"$ref", "const", "enum", "anyOf", "oneOf", "allOf"}) {
    if (ruling == nullptr && in.contains(keyword)) {
      ruling = keyword;
    }
  }
  if (ruling == nullptr) {
    return of_types(in, place);
  }
  const std::string keyword = ruling;
  const bool takes_type = keyword != "$ref" && keyword != "allOf";
  for (const auto& [beside, value] : in.items()) {
    if (beside != keyword && is_assertion(beside) && !(takes_type && beside == "type")) {
      not_enforced(place, beside, "is not enforced beside `" + keyword + "`");
    }
  }
  if (keyword == "$ref") {
    return reference(in, place);
  }
  if (keyword == "const" || keyword == "enum") {
    return values(in, place);
  }
  return keyword == "allOf" ? all_of(in, place) : branches(in, keyword, place);
}

absl::StatusOr<const SchemaJson*> resolve_reference(const SchemaJson& root, const std::string& reference,
                                                    const SchemaPlace& place) {
  if (reference.empty() || reference[0] != '#') {
    return schema_error(place, "`$ref` " + reference + " refers outside the document");
  }
  std::string decoded;
  for (std::size_t at = 1; at < reference.size(); ++at) {
    const auto digit = [&](std::size_t i) {
      const std::size_t value =
          i < reference.size() ? std::string("0123456789abcdef").find(static_cast<char>(std::tolower(reference[i])))
                               : std::string::npos;
      return value == std::string::npos ? -1 : static_cast<int>(value);
    };
    if (reference[at] == '%' && digit(at + 1) >= 0 && digit(at + 2) >= 0) {
      decoded += static_cast<char>(digit(at + 1) * 16 + digit(at + 2));
      at += 2;
    } else {
      decoded += reference[at];
    }
  }
  if (!decoded.empty() && decoded[0] != '/') {
    return schema_error(place, "`$ref` " + reference + " is no JSON pointer");
  }
  const SchemaJson* found = &root;
  for (std::size_t at = 0; at < decoded.size();) {
    const std::size_t end = std::min(decoded.find('/', at + 1), decoded.size());
    std::string token = decoded.substr(at + 1, end - at - 1);
    for (const auto& [from, to] : {std::pair("~1", "/"), std::pair("~0", "~")}) {
      for (std::size_t found_at = 0; (found_at = token.find(from, found_at)) != std::string::npos; ++found_at) {
        token.replace(found_at, 2, to);
      }
    }
    at = end;
    const bool is_index = !token.empty() && token.size() < 7 &&
                          std::all_of(token.begin(), token.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (found->is_object() && found->contains(token)) {
      found = &(*found)[token];
    } else if (found->is_array() && is_index && std::stoul(token) < found->size()) {
      found = &(*found)[std::stoul(token)];
    } else {
      return schema_error(place, "`$ref` " + reference + " is not in the document");
    }
  }
  return found;
}

namespace {

// References that lead to one another without a schema between say nothing about a value. `no_circle`: those that were
// looked at before, so that each is followed once.
absl::Status check_circle(const SchemaJson& root, const std::string& reference, const SchemaPlace& place,
                          std::set<std::string>& no_circle) {
  std::set<std::string> seen;
  for (std::string next = reference; no_circle.count(next) == 0;) {
    if (!seen.insert(next).second) {
      return schema_error(place, "`$ref` " + reference + " leads back to itself");
    }
    COPPICE_ASSIGN_OR_RETURN(const SchemaJson* target, resolve_reference(root, next, place));
    if (!target->is_object() || !target->contains("$ref") || !(*target)["$ref"].is_string()) {
      break;
    }
    next = (*target)["$ref"].get<std::string>();
  }
  no_circle.merge(seen);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SchemaJson> SchemaWalk::reference(const SchemaJson& in, const SchemaPlace& place) {
  if (!in["$ref"].is_string()) {
    return schema_error(place, "`$ref` must be a string");
  }
  const std::string reference = in["$ref"].get<std::string>();
  COPPICE_RETURN_IF_ERROR(check_circle(root_, reference, place, no_circle_));
  if (reference == "#") {
    return SchemaJson{{"$ref", "#"}};
  }
  const auto [row, is_new] = definitions_.emplace(reference, "r" + std::to_string(definitions_.size()));
  const std::string name = row->second;
  if (is_new) {
    COPPICE_ASSIGN_OR_RETURN(const SchemaJson* target, resolve_reference(root_, reference, place));
    // Depth goes on: definitions that refer to one another are read one inside the other.
    COPPICE_ASSIGN_OR_RETURN(SchemaJson out, schema(*target, SchemaPlace{reference, place.depth + 1}));
    definitions_json_[name] = std::move(out);
  }
  return SchemaJson{{"$ref", "#/$defs/" + name}};
}

absl::StatusOr<SchemaJson> SchemaWalk::values(const SchemaJson& in, const SchemaPlace& place) {
  const bool is_const = in.contains("const");
  const SchemaJson& listed = is_const ? in["const"] : in["enum"];
  if (!is_const && (!listed.is_array() || listed.empty())) {
    return schema_error(place, "`enum` must be a list with values");
  }
  if (!is_const && static_cast<std::int64_t>(listed.size()) > limits_.alternatives_max) {
    return absl::OutOfRangeError(shown_pointer(place.pointer) + ": `enum` has more than " +
                                 std::to_string(limits_.alternatives_max) + " values");
  }
  COPPICE_RETURN_IF_ERROR(count_nodes(place, is_const ? 1 : static_cast<std::int64_t>(listed.size())));
  std::vector<std::string> types;
  if (in.contains("type")) {
    const SchemaJson& type = in["type"];
    for (const SchemaJson& one : type.is_array() ? type : SchemaJson::array({type})) {
      types.push_back(one.is_string() ? one.get<std::string>() : "");
    }
  }
  SchemaJson kept = SchemaJson::array();
  const auto keep = [&](const SchemaJson& value) {
    const auto fits = [&](const std::string& type) { return is_of_type(value, type); };
    if (!is_exact_in_engine(value)) {
      not_enforced(place, is_const ? "const" : "enum", "a number is too large to be exact");
    }
    if (types.empty() || std::any_of(types.begin(), types.end(), fits)) {
      kept.push_back(value);
    }
  };
  if (is_const) {
    keep(listed);
  } else {
    std::for_each(listed.begin(), listed.end(), keep);
  }
  if (kept.empty()) {
    return schema_error(place, "no listed value is of the schema's `type`");
  }
  SchemaJson out = SchemaJson::object();
  out["enum"] = std::move(kept);
  return out;
}

absl::StatusOr<SchemaJson> SchemaWalk::branches(const SchemaJson& in, const std::string& keyword,
                                                const SchemaPlace& place) {
  const SchemaJson& listed = in[keyword];
  if (!listed.is_array() || listed.empty()) {
    return schema_error(place, "`" + keyword + "` must be a list with schemas");
  }
  if (static_cast<std::int64_t>(listed.size()) > limits_.alternatives_max) {
    return absl::OutOfRangeError(shown_pointer(place.pointer) + ": `" + keyword + "` has more than " +
                                 std::to_string(limits_.alternatives_max) + " branches");
  }
  if (keyword == "oneOf" && !are_disjoint(root_, listed)) {
    not_enforced(place, keyword, "two branches may match at once; one match at least is enforced, not one only");
  }
  SchemaJson out = SchemaJson::array();
  for (std::size_t index = 0; index < listed.size(); ++index) {
    SchemaJson branch = listed[index];
    const bool has_own_type = branch.is_object() && branch.contains("type");
    if (in.contains("type") && !(has_own_type && branch["type"] == in["type"])) {
      const bool is_open = branch.is_object() && !has_own_type && !branch.contains("$ref") &&
                           !branch.contains("anyOf") && !branch.contains("oneOf") && !branch.contains("allOf");
      if (is_open) {
        branch["type"] = in["type"];
      } else {
        not_enforced(place, "type", "is not enforced beside `" + keyword + "`");
      }
    }
    COPPICE_ASSIGN_OR_RETURN(SchemaJson rewritten, schema(branch, place.at(keyword).at(index)));
    if (!rewritten.is_boolean() && std::find(out.begin(), out.end(), rewritten) == out.end()) {
      out.push_back(std::move(rewritten));
    }
  }
  if (out.empty()) {
    return schema_error(place, "`" + keyword + "` accepts no value");
  }
  return SchemaJson{{"anyOf", std::move(out)}};
}

absl::StatusOr<SchemaJson> SchemaWalk::all_of(const SchemaJson& in, const SchemaPlace& place) {
  const SchemaJson& listed = in["allOf"];
  if (!listed.is_array() || listed.empty()) {
    return schema_error(place, "`allOf` must be a list with schemas");
  }
  if (listed.size() == 1) {
    return schema(listed[0], place.at("allOf").at(0));
  }
  not_enforced(place, "allOf", "only one branch can be enforced");
  return SchemaJson::object();
}

absl::StatusOr<SchemaJson> SchemaWalk::of_types(const SchemaJson& in, const SchemaPlace& place) {
  std::vector<std::string> types;
  if (in.contains("type")) {
    const SchemaJson& type = in["type"];
    for (const SchemaJson& one : type.is_array() ? type : SchemaJson::array({type})) {
      if (!one.is_string()) {
        return schema_error(place, "`type` must be a string or a list of strings");
      }
      types.push_back(one.get<std::string>());
    }
  } else {
    for (const TypeOfKeyword& row : kTypedKeywords) {
      if (in.contains(row.keyword) && std::find(types.begin(), types.end(), row.type) == types.end()) {
        types.push_back(row.type);
      }
    }
    if (types.empty()) {
      return SchemaJson::object();
    }
  }
  if (types.size() == 1) {
    return of_type(in, types[0], place);
  }
  SchemaJson out = SchemaJson::array();
  for (const std::string& type : types) {
    COPPICE_ASSIGN_OR_RETURN(SchemaJson one, of_type(in, type, place));
    out.push_back(std::move(one));
  }
  if (out.empty()) {
    return schema_error(place, "`type` must not be empty");
  }
  return SchemaJson{{"anyOf", std::move(out)}};
}

absl::StatusOr<SchemaJson> SchemaWalk::of_type(const SchemaJson& in, const std::string& type,
                                               const SchemaPlace& place) {
  if (type == "string") {
    return string(in, place);
  }
  if (type == "integer") {
    return integer(in, place);
  }
  if (type == "number") {
    return number(in, place);
  }
  if (type == "array") {
    return array(in, place);
  }
  if (type == "object") {
    return object(in, place);
  }
  if (type == "boolean" || type == "null") {
    return SchemaJson{{"type", type}};
  }
  return schema_error(place, "there is no type \"" + type + "\"");
}

}  // namespace coppice::text
