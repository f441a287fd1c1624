// Properties of the schema's object, one by one.
#include "server/output/argument_grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "server/output/tag_parts.h"
#include "server/output/tool_set.h"

namespace coppice::server {
namespace {

using openai::Json;

constexpr const char* kEndParameter = "</parameter>";

struct Argument {
  std::string name;
  Json schema;  // with the definitions that it refers to
  bool is_required = false;
};

const Json* member(const Json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found == object.end() ? nullptr : &*found;
}

std::vector<Argument> arguments_of(const Json& schema) {
  std::vector<Argument> arguments;
  const Json* const properties = member(schema, "properties");
  if (properties == nullptr || !properties->is_object()) {
    return arguments;
  }
  const Json* const required = member(schema, "required");
  for (const auto& [name, property] : properties->items()) {
    Argument argument{name, property, false};
    for (const char* const definitions : {"$defs", "definitions"}) {
      const Json* const shared = member(schema, definitions);
      if (shared != nullptr && argument.schema.is_object() && !argument.schema.contains(definitions)) {
        argument.schema[definitions] = *shared;
      }
    }
    argument.is_required = required != nullptr && required->is_array() &&
                           std::find(required->begin(), required->end(), Json(name)) != required->end();
    arguments.push_back(std::move(argument));
  }
  return arguments;
}

// Whether the value is text as it stands; where other types may be, too, the parser finds them by their look.
bool is_text(const Argument& argument, const Json& root) {
  return (types_of_schema(argument.schema, root) & kStringType) != 0;
}

// Whether other arguments than the declared ones may come.
bool takes_others(const Json& schema) {
  return member(schema, "properties") == nullptr && member(schema, "additionalProperties") == nullptr;
}

// `begin`, a text that ends before the closing tag, the closing tag.
Json text_argument(const std::string& begin) {
  Json tag = {{"type", "tag"}, {"begin", begin}};
  tag["content"] = {{"type", "any_text"}};
  tag["end"] = kEndParameter;
  return tag;
}

Json xml_argument(const Argument& argument, const Json& root) {
  const std::string begin = fmt::format("\n<parameter={}>\n", argument.name);
  const Json end = text_part(std::string("\n") + kEndParameter);
  if (!is_text(argument, root)) {
    return sequence_part({text_part(begin), schema_part(argument.schema), end});
  }
  std::vector<Json> texts;  // that the schema names
  if (const Json* const value = member(argument.schema, "const")) {
    texts.push_back(text_part(value->is_string() ? value->get<std::string>() : value->dump()));
  } else if (const Json* const values = member(argument.schema, "enum"); values != nullptr && values->is_array()) {
    for (const Json& text : *values) {
      texts.push_back(text_part(text.is_string() ? text.get<std::string>() : text.dump()));
    }
  }
  return texts.empty() ? text_argument(begin) : sequence_part({text_part(begin), either_part(texts), end});
}

// "k=value", behind what parts it from the one before.
Json python_argument(const Argument& argument, bool is_first) {
  return sequence_part(
      {text_part(fmt::format("{}{}=", is_first ? "" : ", ", argument.name)), schema_part(argument.schema)});
}

// The arguments from `at` on, of which one at least has come before.
void add_following(const std::vector<Argument>& arguments, std::size_t at, std::vector<Json>& parts) {
  for (; at < arguments.size(); ++at) {
    Json part = python_argument(arguments[at], /*is_first=*/false);
    parts.push_back(arguments[at].is_required ? std::move(part) : optional_part(std::move(part)));
  }
}

}  // namespace

Json python_arguments(const Json& schema) {
  std::vector<Argument> arguments = arguments_of(schema);
  std::stable_partition(arguments.begin(), arguments.end(),
                        [](const Argument& argument) { return argument.is_required; });
  if (arguments.empty()) {
    return text_part("");
  }
  // Which comes first decides where commas stand.
  const bool has_required = arguments.front().is_required;
  std::vector<Json> ways;
  for (std::size_t first = 0; first < (has_required ? 1 : arguments.size()); ++first) {
    std::vector<Json> parts = {python_argument(arguments[first], /*is_first=*/true)};
    add_following(arguments, first + 1, parts);
    ways.push_back(sequence_part(std::move(parts)));
  }
  return has_required ? ways.front() : optional_part(either_part(ways));
}

Json xml_arguments(const Json& schema) {
  if (takes_others(schema)) {
    Json key = {{"type", "regex"}, {"pattern", "[A-Za-z0-9_.-]+"}};
    return repeat_part(sequence_part({text_part("\n<parameter="), std::move(key), text_argument(">\n")}));
  }
  std::vector<Json> parts;
  for (const Argument& argument : arguments_of(schema)) {
    Json part = xml_argument(argument, schema);
    parts.push_back(argument.is_required ? std::move(part) : optional_part(std::move(part)));
  }
  return parts.empty() ? text_part("") : sequence_part(std::move(parts));
}

std::string unenforced_argument(const Json& schema, CallShape shape) {
  if (member(schema, "properties") == nullptr &&
      (member(schema, "$ref") != nullptr || member(schema, "anyOf") != nullptr)) {
    return "#: only an object's own `properties` are enforced in this model's format of calls";
  }
  for (const Argument& argument : arguments_of(schema)) {
    for (const char* const keyword : {"pattern", "format", "minLength", "maxLength", "$ref"}) {
      if (shape == CallShape::kXml && is_text(argument, schema) && member(argument.schema, keyword) != nullptr) {
        return fmt::format("#/properties/{}: `{}`: is not enforced in this model's format of calls", argument.name,
                           keyword);
      }
    }
  }
  return "";
}

}  // namespace coppice::server
