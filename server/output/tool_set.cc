// Names, and the types of parameters from their schemas.
#include "server/output/tool_set.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "proto/openai/json_reader.h"

namespace coppice::server {
namespace {

using openai::Json;

constexpr int kDepthMax = 16;  // of references and alternatives in one another: far more than parameters in use have

constexpr std::array<std::pair<std::string_view, ParameterTypes>, 7> kTypes = {{{"string", kStringType},
                                                                                {"integer", kIntegerType},
                                                                                {"number", kNumberType | kIntegerType},
                                                                                {"boolean", kBooleanType},
                                                                                {"null", kNullType},
                                                                                {"object", kObjectType},
                                                                                {"array", kArrayType}}};

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

// Where "#/a/b" points; null: nowhere.
const Json* resolve(const Json& root, const std::string& reference) {
  if (!reference.starts_with("#/")) {
    return nullptr;
  }
  try {
    const Json::json_pointer pointer(reference.substr(1));
    return root.contains(pointer) ? &root.at(pointer) : nullptr;
  } catch (const Json::exception&) {
    return nullptr;
  }
}

ParameterTypes types_at(const Json& schema, const Json& root, int depth);

ParameterTypes types_of_any(const Json& schemas, const Json& root, int depth) {
  ParameterTypes types = 0;
  for (const Json& schema : schemas) {
    types |= types_at(schema, root, depth);
  }
  return types == 0 ? kAnyType : types;
}

ParameterTypes types_at(const Json& schema, const Json& root, int depth) {
  if (!schema.is_object() || depth > kDepthMax) {
    return kAnyType;
  }
  if (const Json* const type = member(schema, "type")) {
    if (!type->is_array()) {
      return type_named(*type);
    }
    ParameterTypes types = 0;
    for (const Json& name : *type) {
      types |= type_named(name);
    }
    return types == 0 ? kAnyType : types;
  }
  if (const Json* const reference = member(schema, "$ref"); reference != nullptr && reference->is_string()) {
    const Json* const target = resolve(root, reference->get<std::string>());
    return target == nullptr ? kAnyType : types_at(*target, root, depth + 1);
  }
  if (const Json* const value = member(schema, "const")) {
    return type_of_value(*value);
  }
  if (const Json* const values = member(schema, "enum"); values != nullptr && values->is_array()) {
    ParameterTypes types = 0;
    for (const Json& value : *values) {
      types |= type_of_value(value);
    }
    return types == 0 ? kAnyType : types;
  }
  for (const char* const alternatives : {"anyOf", "oneOf"}) {
    if (const Json* const schemas = member(schema, alternatives); schemas != nullptr && schemas->is_array()) {
      return types_of_any(*schemas, root, depth + 1);
    }
  }
  if (const Json* const parts = member(schema, "allOf"); parts != nullptr && parts->is_array() && !parts->empty()) {
    ParameterTypes types = kAnyType;
    for (const Json& part : *parts) {
      types &= types_at(part, root, depth + 1);
    }
    return types == 0 ? kAnyType : types;
  }
  return kAnyType;
}

Tool make_tool(const Json& function) {
  Tool tool;
  tool.name = function["name"].get<std::string>();
  const Json* const schema = member(function, "parameters");
  const Json* const properties = schema != nullptr && schema->is_object() ? member(*schema, "properties") : nullptr;
  if (properties != nullptr && properties->is_object()) {
    for (const auto& [name, parameter] : properties->items()) {
      tool.parameters.emplace(name, types_of_schema(parameter, *schema));
    }
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
  return found == parameters.end() ? ParameterTypes{kStringType} : found->second;
}

ToolSet::ToolSet(const Json& tools) {
  for (const Json& tool : tools) {
    Tool made = make_tool(tool["function"]);
    tools_.insert_or_assign(made.name, std::move(made));
  }
}

const Tool* ToolSet::find(std::string_view name) const {
  const auto found = tools_.find(name);
  return found == tools_.end() ? nullptr : &found->second;
}

ParameterTypes types_of_schema(const Json& schema, const Json& root) {
  return types_at(schema, root, 0);
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
