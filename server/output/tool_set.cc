// Names, and the types of parameters from their schemas.
#include "server/output/tool_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "proto/openai/json_reader.h"
#include "server/output/schema_reference.h"

namespace coppice::server {
namespace {

using openai::Json;

constexpr int kDepthMax = 16;  // of references and alternatives in one another: far more than parameters in use have
// Schemas, values and names looked at, some 20 ns each. What is not reached may be of any type.
constexpr std::int64_t kParameterSteps = 2000;   // of one parameter: twice the alternatives that a schema may have
constexpr std::int64_t kToolSetSteps = 400'000;  // of all parameters of a request together

constexpr std::array<std::pair<std::string_view, ParameterTypes>, 7> kTypes = {{{"string", kStringType},
                                                                                {"integer", kIntegerType},
                                                                                {"number", kNumberType | kIntegerType},
                                                                                {"boolean", kBooleanType},
                                                                                {"null", kNullType},
                                                                                {"object", kObjectType},
                                                                                {"array", kArrayType}}};

struct TypedKeyword {
  const char* keyword;
  ParameterTypes types;
};

// What restricts the values of some types: a schema without `type` that has them is of these.
constexpr std::array<TypedKeyword, 22> kTypedKeywords = {{
    {"pattern", kStringType},
    {"format", kStringType},
    {"minLength", kStringType},
    {"maxLength", kStringType},
    {"minimum", kNumberType | kIntegerType},
    {"maximum", kNumberType | kIntegerType},
    {"exclusiveMinimum", kNumberType | kIntegerType},
    {"exclusiveMaximum", kNumberType | kIntegerType},
    {"multipleOf", kNumberType | kIntegerType},
    {"items", kArrayType},
    {"prefixItems", kArrayType},
    {"minItems", kArrayType},
    {"maxItems", kArrayType},
    {"uniqueItems", kArrayType},
    {"contains", kArrayType},
    {"properties", kObjectType},
    {"required", kObjectType},
    {"additionalProperties", kObjectType},
    {"patternProperties", kObjectType},
    {"propertyNames", kObjectType},
    {"minProperties", kObjectType},
    {"maxProperties", kObjectType},
}};

ParameterTypes type_named(const Json& name) {
  for (const auto& [text, types] : kTypes) {
    if (name == text) {
      return types;
    }
  }
  return kAnyType;
}

ParameterTypes type_of_value(const Json& value) {
  switch (value.type()) {
    case Json::value_t::string:
      return kStringType;
    case Json::value_t::boolean:
      return kBooleanType;
    case Json::value_t::null:
      return kNullType;
    case Json::value_t::object:
      return kObjectType;
    case Json::value_t::array:
      return kArrayType;
    case Json::value_t::number_float:
      return kNumberType;
    default:
      return kIntegerType;
  }
}

const Json* member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

// Finds the types that schemas of one document allow, as far as its steps reach: references and alternatives in one
// another can have exponentially many ways.
class TypeFinder {
 public:
  TypeFinder(const Json& root, std::int64_t steps) : root_(root), steps_(steps) {}

  ParameterTypes types_at(const Json& schema, int depth) {
    if (!spend(1) || !schema.is_object() || depth > kDepthMax) {
      return kAnyType;
    }
    if (const Json* const type = member(schema, "type")) {
      return type->is_array() ? types_of_all(*type, type_named) : type_named(*type);
    }
    if (const Json* const reference = member(schema, "$ref"); reference != nullptr && reference->is_string()) {
      const Json* const target = resolve(reference->get_ref<const std::string&>());
      return target == nullptr ? kAnyType : types_at(*target, depth + 1);
    }
    if (const Json* const value = member(schema, "const")) {
      return type_of_value(*value);
    }
    if (const Json* const values = member(schema, "enum"); values != nullptr && values->is_array()) {
      return types_of_all(*values, type_of_value);
    }
    for (const char* const alternatives : {"anyOf", "oneOf"}) {
      if (const Json* const schemas = member(schema, alternatives); schemas != nullptr && schemas->is_array()) {
        return types_of_all(*schemas, [this, depth](const Json& one) { return types_at(one, depth + 1); });
      }
    }
    if (const Json* const parts = member(schema, "allOf"); parts != nullptr && parts->is_array() && !parts->empty()) {
      ParameterTypes types = kAnyType;
      for (const Json& part : *parts) {
        types &= types_at(part, depth + 1);
      }
      return types == 0 ? kAnyType : types;
    }
    ParameterTypes types = 0;
    for (const TypedKeyword& row : kTypedKeywords) {
      types |= schema.contains(row.keyword) ? row.types : ParameterTypes{0};
    }
    return types == 0 ? kAnyType : types;
  }

  std::int64_t steps_left() const { return steps_; }

 private:
  // False: none are left.
  bool spend(std::size_t steps) {
    steps_ = std::max<std::int64_t>(0, steps_ - static_cast<std::int64_t>(steps));
    return steps_ > 0;
  }

  template <typename TypeOf>
  ParameterTypes types_of_all(const Json& list, TypeOf type_of) {
    ParameterTypes types = 0;
    for (const Json& one : list) {
      if (!spend(1)) {
        return kAnyType;
      }
      types |= type_of(one);
    }
    return types == 0 ? kAnyType : types;
  }

  // Null: nowhere, or too far away. What costs are the bytes and the members that are looked through.
  const Json* resolve(std::string_view reference) {
    if (!spend(reference.size() / kBytesOfStep)) {
      return nullptr;
    }
    const Referred found = referred_schema(root_, reference);
    return spend(found.members / kMembersOfStep) ? found.schema : nullptr;
  }

  // What costs about as much as reading one schema.
  static constexpr std::size_t kBytesOfStep = 64;
  static constexpr std::size_t kMembersOfStep = 8;

  const Json& root_;
  std::int64_t steps_;
};

// `steps`: left of all tools'.
Tool make_tool(const Json& function, std::int64_t& steps) {
  Tool tool;
  tool.name = function["name"].get<std::string>();
  const Json* const schema = member(function, "parameters");
  if (schema == nullptr || !schema->is_object()) {
    return tool;
  }
  const auto types = [schema, &steps](const Json& parameter) {
    TypeFinder finder(*schema, std::min(steps, kParameterSteps));
    const std::int64_t before = finder.steps_left();
    const ParameterTypes found = finder.types_at(parameter, 0);
    steps -= before - finder.steps_left();
    return found;
  };
  const Json* const object = object_schema(*schema).schema;
  if (object == nullptr || !object->is_object()) {
    return tool;
  }
  if (const Json* const properties = member(*object, "properties"); properties != nullptr && properties->is_object()) {
    for (const auto& [name, parameter] : properties->items()) {
      tool.parameters.emplace(name, types(parameter));
    }
  }
  if (const Json* const others = member(*object, "additionalProperties"); others != nullptr && !others->empty()) {
    tool.others = others->is_object() ? types(*others) : tool.others;
  }
  return tool;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  append_json_text(text, out);
  out += '"';
  return out;
}

}  // namespace

ParameterTypes Tool::types_of(std::string_view parameter) const {
  const auto found = parameters.find(parameter);
  return found == parameters.end() ? others : found->second;
}

ToolSet::ToolSet(const Json& tools) {
  std::int64_t steps = kToolSetSteps;
  for (const Json& tool : tools) {
    Tool made = make_tool(tool["function"], steps);
    tools_.insert_or_assign(made.name, std::move(made));
  }
}

const Tool* ToolSet::find(std::string_view name) const {
  const auto found = tools_.find(name);
  return found == tools_.end() ? nullptr : &found->second;
}

ParameterTypes types_of_schema(const Json& schema, const Json& root) {
  return TypeFinder(root, kParameterSteps).types_at(schema, 0);
}

std::string_view restriction_of(const Json& schema) {
  for (const TypedKeyword& row : kTypedKeywords) {
    const Json* const found = schema.is_object() ? member(schema, row.keyword) : nullptr;
    const bool is_least = found != nullptr && std::string_view(row.keyword).starts_with("min") && *found == 0;
    if (found != nullptr && !(is_least && row.types != (kNumberType | kIntegerType))) {
      return row.keyword;
    }
  }
  return "";
}

std::string typed_value(std::string_view text, ParameterTypes types) {
  const std::size_t begin = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  const std::string_view said = text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
  // Some models write Python's words.
  if ((types & kBooleanType) != 0 && (said == "True" || said == "False")) {
    return said == "True" ? "true" : "false";
  }
  if ((types & kNullType) != 0 && said == "None") {
    return "null";
  }
  const openai::Result<Json> parsed = openai::parse_json(said, openai::RequestLimits{}, "the value");
  if (!parsed.ok()) {
    return quoted(text);
  }
  const ParameterTypes type =
      openai::is_large_integer(parsed.value()) ? ParameterTypes{kIntegerType} : type_of_value(parsed.value());
  const ParameterTypes wider = type == kIntegerType ? kIntegerType | kNumberType : type;
  return (types & wider) != 0 && type != kStringType ? std::string(said) : quoted(text);
}

void append_json_text(std::string_view text, std::string& out) {
  constexpr unsigned char kFirstPrintable = 0x20;  // ASCII: JSON allows none below
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (static_cast<unsigned char>(c) < kFirstPrintable) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
}

}  // namespace coppice::server
