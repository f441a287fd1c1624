// When no value can match two branches of a oneOf.
#include <cmath>
#include <set>
#include <string>

#include "text/grammar/schema_walk.h"

namespace coppice::text {
namespace {

constexpr int kReferencesMax = 16;  // followed one after the other; a circle ends there

// What a branch says at first sight.
struct Branch {
  const SchemaJson* schema = nullptr;
  std::set<std::string> types;   // of values that may match; empty: any. Integers are numbers here.
  std::set<std::string> values;  // its values as JSON, where they are listed
};

const SchemaJson* followed(const SchemaJson& root, const SchemaJson* schema) {
  for (int i = 0; i < kReferencesMax && schema->is_object() && schema->contains("$ref"); ++i) {
    const SchemaJson& reference = (*schema)["$ref"];
    const auto target = resolve_reference(root, reference.is_string() ? reference.get<std::string>() : "", {});
    if (!target.ok()) {
      return schema;
    }
    schema = *target;
  }
  return schema;
}

std::string type_of(const SchemaJson& value) {
  for (const char* type : {"null", "boolean", "string", "number", "array", "object"}) {
    if (is_of_type(value, type)) {
      return type;
    }
  }
  return "";
}

// 1 and 1.0 are the same value.
std::string text_of(const SchemaJson& value) {
  return value.is_number() ? SchemaJson(value.get<double>()).dump()
                           : value.dump(-1, ' ', false, SchemaJson::error_handler_t::replace);
}

Branch read(const SchemaJson& root, const SchemaJson& schema) {
  Branch branch;
  branch.schema = followed(root, &schema);
  const SchemaJson& found = *branch.schema;
  if (!found.is_object() || found.contains("$ref")) {
    return branch;
  }
  if (found.contains("const") || (found.contains("enum") && found["enum"].is_array())) {
    for (const SchemaJson& value : found.contains("const") ? SchemaJson::array({found["const"]}) : found["enum"]) {
      branch.values.insert(text_of(value));
      branch.types.insert(type_of(value));
    }
    return branch;
  }
  if (found.contains("type")) {
    for (const SchemaJson& type : found["type"].is_array() ? found["type"] : SchemaJson::array({found["type"]})) {
      const std::string name = type.is_string() ? type.get<std::string>() : "";
      branch.types.insert(name == "integer" ? "number" : name);
    }
  }
  return branch;
}

bool share_nothing(const std::set<std::string>& a, const std::set<std::string>& b) {
  const std::set<std::string>& few = a.size() < b.size() ? a : b;
  const std::set<std::string>& many = a.size() < b.size() ? b : a;
  for (const std::string& value : few) {
    if (many.count(value) > 0) {
      return false;
    }
  }
  return !few.empty();
}

bool requires_name(const SchemaJson& schema, const std::string& name) {
  if (!schema.contains("required") || !schema["required"].is_array()) {
    return false;
  }
  for (const SchemaJson& required : schema["required"]) {
    if (required == name) {
      return true;
    }
  }
  return false;
}

// Two objects: a property that both require has other values here than there.
bool are_told_apart(const SchemaJson& root, const SchemaJson& a, const SchemaJson& b) {
  const auto has_properties = [](const SchemaJson& schema) {
    return schema.is_object() && schema.contains("properties") && schema["properties"].is_object();
  };
  if (!has_properties(a) || !has_properties(b)) {
    return false;
  }
  for (const auto& [name, schema] : a["properties"].items()) {
    if (b["properties"].contains(name) && requires_name(a, name) && requires_name(b, name) &&
        share_nothing(read(root, schema).values, read(root, b["properties"][name]).values)) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool are_disjoint(const SchemaJson& root, const SchemaJson& branches) {
  std::vector<Branch> read_branches;
  for (const SchemaJson& branch : branches) {
    read_branches.push_back(read(root, branch));
  }
  for (std::size_t i = 0; i < read_branches.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const Branch& a = read_branches[i];
      const Branch& b = read_branches[j];
      const bool are_objects = a.types == std::set<std::string>{"object"} && b.types == a.types;
      if (!share_nothing(a.types, b.types) && !share_nothing(a.values, b.values) &&
          !(are_objects && are_told_apart(root, *a.schema, *b.schema))) {
        return false;
      }
    }
  }
  return true;
}

bool is_of_type(const SchemaJson& value, std::string_view type) {
  if (type == "integer") {
    return value.is_number_integer() || (value.is_number() && std::floor(value.get<double>()) == value.get<double>());
  }
  return (type == "null" && value.is_null()) || (type == "boolean" && value.is_boolean()) ||
         (type == "string" && value.is_string()) || (type == "number" && value.is_number()) ||
         (type == "array" && value.is_array()) || (type == "object" && value.is_object());
}

}  // namespace coppice::text
