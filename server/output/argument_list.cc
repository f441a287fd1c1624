// The object's schema behind references, then its properties, each with copies of what it refers to.
#include "server/output/argument_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "proto/openai/json_reader.h"
#include "server/output/call_reader.h"
#include "server/output/schema_reference.h"

namespace coppice::server {
namespace {

using openai::Json;

const Json* member(const Json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found == object.end() ? nullptr : &*found;
}

// A schema of a document, made a document of its own.
class OwnDocument {
 public:
  OwnDocument(const Json& root, std::size_t bytes_max) : root_(root), bytes_left_(bytes_max) {}

  // Nothing: it has more bytes than are left.
  std::optional<Json> make(const Json& schema) {
    Json out = schema.is_object() ? schema : Json::object();
    out.erase("$defs");  // of the property: references lead to the document's
    out.erase("definitions");
    refer(out);
    if (is_too_large_) {
      return std::nullopt;
    }
    if (!definitions_.empty()) {
      out["$defs"] = std::move(definitions_);
    }
    return out;
  }

 private:
  // Makes references lead to copies.
  void refer(Json& node) {
    if (node.is_array()) {
      for (Json& item : node) {
        refer(item);
      }
    } else if (node.is_object()) {
      for (auto& [key, value] : node.items()) {
        if (key == "$ref" && value.is_string()) {
          value = "#/$defs/" + copy_of(value.get<std::string>());
        } else if (key != "const" && key != "enum" && key != "default" && key != "examples") {
          refer(value);
        }
      }
    }
  }

  std::string copy_of(const std::string& reference) {
    const auto [row, is_new] = names_.emplace(reference, fmt::format("d{}", names_.size()));
    const std::string name = row->second;
    if (!is_new || is_too_large_) {
      return name;
    }
    const Json* const target = referred_schema(root_, reference).schema;
    Json copy = target == nullptr ? Json::object() : *target;
    const std::size_t bytes = openai::write_json(copy).size();
    is_too_large_ = bytes > bytes_left_;
    bytes_left_ -= is_too_large_ ? 0 : bytes;
    if (!is_too_large_) {
      refer(copy);
      definitions_[name] = std::move(copy);
    }
    return name;
  }

  const Json& root_;
  std::size_t bytes_left_;
  bool is_too_large_ = false;
  std::map<std::string, std::string> names_;  // of copies, by their references
  Json definitions_ = Json::object();
};

bool is_name(std::string_view name, CallShape shape) {
  const auto is_part = [shape](char byte) {
    return shape == CallShape::kXml ? byte != '<' && byte != '>' && byte != '\n' && byte != '\r' : is_name_part(byte);
  };
  return !name.empty() && std::all_of(name.begin(), name.end(), is_part);
}

class Lister {
 public:
  Lister(const Json& schema, CallShape shape, std::size_t bytes_max)
      : root_(schema), shape_(shape), bytes_left_(bytes_max) {}

  ArgumentList list() && {
    const Json* const object = find_object();
    if (object == nullptr) {
      list_.others = Json::object();
      return std::move(list_);
    }
    const Json* const properties = member(*object, "properties");
    read_names(*object);
    if (properties != nullptr && properties->is_object()) {
      for (const auto& [name, property] : properties->items()) {
        add(name, property, "/properties" + pointer_step(name));
      }
    }
    const Json* const others = member(*object, "additionalProperties");
    for (const std::string& name : required_) {  // those that are not declared
      const bool is_declared = properties != nullptr && properties->is_object() && properties->contains(name);
      if (!is_declared) {
        add(name, others == nullptr ? Json(true) : *others, "/additionalProperties");
      }
    }
    const bool has_names = properties != nullptr && !properties->empty();
    if (!has_names && required_.empty() && (others == nullptr || *others != false)) {
      add_others(*object, others == nullptr ? Json(true) : *others);
    }
    return std::move(list_);
  }

 private:
  void not_enforced(const std::string& pointer, std::string keyword, std::string reason) {
    list_.unenforced.push_back({"#" + pointer, std::move(keyword), std::move(reason)});
  }

  // Null: any arguments, for the schema is no object's own.
  const Json* find_object() {
    ObjectSchema found = object_schema(root_);
    pointer_ = std::move(found.pointer);
    const Json* const at = found.schema;
    if (at == nullptr || !at->is_object()) {
      return nullptr;
    }
    for (const char* const keyword : {"$ref", "anyOf", "oneOf", "allOf", "enum", "const"}) {
      if (at->contains(keyword)) {
        not_enforced(pointer_, keyword, "only an object's own properties are enforced in this model's format of calls");
        return nullptr;
      }
    }
    const Json* const type = member(*at, "type");
    if (type != nullptr && *type != "object" && *type != Json::array({"object"})) {
      not_enforced(pointer_, "type", "arguments are an object");
      return nullptr;
    }
    return at;
  }

  // Names that must come, and rules for names that calls of these shapes do not keep.
  void read_names(const Json& object) {
    if (const Json* const required = member(object, "required"); required != nullptr && required->is_array()) {
      for (const Json& name : *required) {
        if (name.is_string() && std::find(required_.begin(), required_.end(), name) == required_.end()) {
          required_.push_back(name.get<std::string>());
        }
      }
    }
    const Json* const properties = member(object, "properties");
    const bool is_map = properties == nullptr || properties->empty();
    for (const char* const keyword : {"patternProperties", "propertyNames", "maxProperties", "minProperties"}) {
      const bool is_count =
          std::string_view(keyword) == "maxProperties" || std::string_view(keyword) == "minProperties";
      if (object.contains(keyword) && (is_map || !is_count)) {
        not_enforced(pointer_, keyword, "is not enforced in this model's format of calls");
      }
    }
  }

  void add(const std::string& name, const Json& schema, const std::string& place) {
    if (schema == false || list_.others) {
      return;  // may not come; too large
    }
    const std::string pointer = pointer_ + place;
    if (!is_name(name, shape_)) {
      not_enforced(pointer, "properties", "this name cannot be written in this model's format of calls");
      return;
    }
    std::optional<Json> own = OwnDocument(root_, bytes_left_).make(schema);
    const std::size_t bytes = own ? openai::write_json(*own).size() : bytes_left_ + 1;
    if (bytes > bytes_left_) {
      list_.arguments.clear();
      list_.others = Json::object();
      not_enforced("", "properties", "take too many bytes with what they refer to in this model's format of calls");
      return;
    }
    bytes_left_ -= bytes;
    const bool is_required = std::find(required_.begin(), required_.end(), name) != required_.end();
    list_.arguments.push_back({name, *std::move(own), is_required, pointer, bytes});
  }

  void add_others(const Json& object, const Json& schema) {
    if (object.contains("patternProperties")) {
      list_.others = Json::object();
      return;
    }
    std::optional<Json> own = OwnDocument(root_, bytes_left_).make(schema);
    list_.others = own ? *std::move(own) : Json::object();
    if (!own) {
      not_enforced(pointer_, "additionalProperties", "takes too many bytes with what it refers to");
    }
  }

  const Json& root_;
  const CallShape shape_;
  std::size_t bytes_left_;
  std::string pointer_;  // of the object's schema, without "#"
  std::vector<std::string> required_;
  ArgumentList list_;
};

}  // namespace

ArgumentList list_arguments(const Json& schema, CallShape shape, std::size_t bytes_max) {
  return Lister(schema, shape, bytes_max).list();
}

}  // namespace coppice::server
