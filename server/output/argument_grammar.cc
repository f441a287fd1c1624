// Properties of the schema's object, one by one.
#include "server/output/argument_grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "proto/openai/json_reader.h"
#include "server/output/argument_list.h"
#include "server/output/schema_reference.h"
#include "server/output/tag_parts.h"
#include "server/output/tool_set.h"

namespace coppice::server {
namespace {

using openai::Json;

constexpr const char* kEndParameter = "</parameter>";
constexpr int kDepthMax = 16;    // of alternatives and references in one another, as types are looked for
constexpr int kReadsMax = 2000;  // schemas of one argument: twice the alternatives that a schema may have
// Arguments of which none is required, in Python's form: which comes first decides where commas stand, and each may.
constexpr std::size_t kOptionalMax = 40;

const Json* member(const Json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found == object.end() ? nullptr : &*found;
}

// JSON in which the closing tag does not come.
Json json_value(const Json& schema) {
  Json part = schema_part(schema);
  part["excludes"] = Json::array({kEndParameter});
  return part;
}

// `begin`, a text that ends before the closing tag, the closing tag.
Json text_argument(const std::string& begin) {
  Json tag = {{"type", "tag"}, {"begin", begin}};
  tag["content"] = {{"type", "any_text"}};
  tag["end"] = kEndParameter;
  return tag;
}

// What a value may be that is written as text: of a schema that allows strings and maybe more.
class TextForms {
 public:
  explicit TextForms(const Json& document) : document_(document), types_(types_of_schema(document, document)) {
    read(document, 0);
  }

  // The argument behind `begin`.
  Json part(const std::string& begin) const {
    if (is_any_) {
      return text_argument(begin);
    }
    std::vector<Json> parts = texts_;
    if (!others_.empty()) {
      Json others = {{"anyOf", others_}};
      if (const Json* const definitions = member(document_, "$defs")) {
        others["$defs"] = *definitions;
      }
      parts.push_back(json_value(others));
    }
    return sequence_part({text_part(begin), either_part(parts), text_part(std::string("\n") + kEndParameter)});
  }

  // The keyword that values are not held to; "": there is none. Beside any text any value is one that looks like it.
  std::string_view unenforced() const { return is_any_ && unenforced_.empty() ? restriction_ : unenforced_; }

 private:
  void read(const Json& schema, int depth) {
    const Json* const reference = member(schema, "$ref");
    const Json* const any_of = member(schema, "anyOf");
    const Json* const branches = any_of != nullptr ? any_of : member(schema, "oneOf");
    const Json* const parts = member(schema, "allOf");
    const Json* const one = member(schema, "const");
    const Json* const values = one != nullptr ? one : member(schema, "enum");
    if (++reads_ > kReadsMax || depth > kDepthMax) {
      take_any("$ref");
    } else if (reference != nullptr && reference->is_string()) {
      const Json* const target = referred_schema(document_, reference->get_ref<const std::string&>()).schema;
      read(target == nullptr ? Json::object() : *target, depth + 1);
    } else if (values != nullptr) {
      read_values(schema, one, *values);
    } else if (branches != nullptr && branches->is_array()) {
      for (const Json& branch : *branches) {
        read(branch, depth + 1);
      }
    } else if (parts != nullptr && parts->is_array() && parts->size() == 1) {
      read(parts->front(), depth + 1);
    } else {
      read_plain(schema);
    }
  }

  // `one`: the value of "const", or null.
  void read_values(const Json& schema, const Json* one, const Json& values) {
    const Json* const type = member(schema, "type");
    if (one != nullptr) {
      return read_value(*one, type, "const");
    }
    for (const Json& value : values) {
      if (is_any_) {  // whatever comes is one of its texts: they need not be made
        return restrict_others("enum");
      }
      if (++reads_ > kReadsMax) {
        return take_any("enum");
      }
      read_value(value, type, "enum");
    }
  }

  // A value of a list, as the reader of calls finds it in a text.
  void read_value(const Json& value, const Json* type, const char* keyword) {
    const ParameterTypes types = types_of_schema({{"const", value}}, {});
    if (type != nullptr && (types_of_schema({{"type", *type}}, {}) & types) == 0) {
      return;
    }
    const std::string text = value.is_string() ? value.get<std::string>() : openai::write_json(value);
    const std::string read = types_ == kStringType ? openai::write_json(Json(text)) : typed_value(text, types_);
    const bool is_found = Json::parse(read, nullptr, /*allow_exceptions=*/false) == value;
    if (!is_found || text.find(kEndParameter) != std::string::npos) {
      take_any(keyword);
    } else {
      texts_.push_back(text_part(text));
      restrict_others((types & kStringType) == 0 ? keyword : "");
    }
  }

  void read_plain(const Json& schema) {
    const std::string_view restriction = restriction_of(schema);
    if ((types_of_schema(schema, document_) & kStringType) != 0) {
      take_any(restriction);
    } else {
      others_.push_back(schema);
      restrict_others(restriction);
    }
  }

  void take_any(std::string_view unenforced) {
    is_any_ = true;
    unenforced_ = unenforced_.empty() ? unenforced : unenforced_;
  }
  void restrict_others(std::string_view keyword) { restriction_ = restriction_.empty() ? keyword : restriction_; }

  const Json& document_;
  const ParameterTypes types_;
  int reads_ = 0;
  bool is_any_ = false;
  std::vector<Json> texts_;       // parts
  Json others_ = Json::array();   // schemas of values that are no strings
  std::string_view unenforced_;   // of texts
  std::string_view restriction_;  // of values that are no strings
};

// Parts of one call's arguments.
class Maker {
 public:
  Maker(const Json& schema, CallShape shape, std::size_t bytes_max)
      : shape_(shape), list_(list_arguments(schema, shape, bytes_max)) {
    if (shape == CallShape::kPython) {
      std::stable_partition(list_.arguments.begin(), list_.arguments.end(),
                            [](const Argument& argument) { return argument.is_required; });
      check_ways(bytes_max);
    }
  }

  ArgumentGrammar make() && {
    ArgumentGrammar grammar;
    if (list_.others) {
      grammar.part = shape_ == CallShape::kXml ? xml_map(*list_.others) : python_map(*list_.others);
    } else {
      grammar.part = shape_ == CallShape::kXml ? xml_arguments() : python_arguments();
    }
    grammar.unenforced = std::move(list_.unenforced);
    return grammar;
  }

 private:
  void not_enforced(const std::string& pointer, std::string keyword, std::string reason) {
    list_.unenforced.push_back({"#" + pointer, std::move(keyword), std::move(reason)});
  }

  // Where no argument is required the second one comes twice, the third one three times, …
  void check_ways(std::size_t bytes_max) {
    const std::vector<Argument>& arguments = list_.arguments;
    if (arguments.empty() || arguments.front().is_required) {
      return;
    }
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      bytes += (i + 1) * arguments[i].bytes;
    }
    if (arguments.size() > kOptionalMax || bytes > bytes_max) {
      list_.arguments.clear();
      list_.others = Json::object();
      not_enforced("", "properties",
                   fmt::format("without a required one take too many ways to be written in this model's format of "
                               "calls: more than {}, or more than {} bytes",
                               kOptionalMax, bytes_max));
    }
  }

  Json xml_value(const std::string& begin, const Json& schema, const std::string& pointer) {
    if ((types_of_schema(schema, schema) & kStringType) == 0) {
      return sequence_part({text_part(begin), json_value(schema), text_part(std::string("\n") + kEndParameter)});
    }
    const TextForms forms(schema);
    if (!forms.unenforced().empty()) {
      not_enforced(pointer, std::string(forms.unenforced()),
                   "of a text, is not enforced in this model's format of calls");
    }
    return forms.part(begin);
  }

  Json xml_arguments() {
    std::vector<Json> parts;
    for (const Argument& argument : list_.arguments) {
      Json part = xml_value(fmt::format("\n<parameter={}>\n", argument.name), argument.schema, argument.pointer);
      parts.push_back(argument.is_required ? std::move(part) : optional_part(std::move(part)));
    }
    return parts.empty() ? text_part("") : sequence_part(std::move(parts));
  }

  // Arguments of any name.
  Json xml_map(const Json& schema) {
    Json name = {{"type", "regex"}, {"pattern", "[A-Za-z0-9_.-]+"}};
    Json value = xml_value(">\n", schema, "/additionalProperties");
    return repeat_part(sequence_part({text_part("\n<parameter="), std::move(name), std::move(value)}));
  }

  // "k=value", behind what parts it from the one before.
  static Json python_argument(const Argument& argument, bool is_first) {
    return sequence_part(
        {text_part(fmt::format("{}{}=", is_first ? "" : ", ", argument.name)), schema_part(argument.schema)});
  }

  Json python_arguments() const {
    const std::vector<Argument>& arguments = list_.arguments;
    if (arguments.empty()) {
      return text_part("");
    }
    const bool has_required = arguments.front().is_required;
    std::vector<Json> ways;
    for (std::size_t first = 0; first < (has_required ? 1 : arguments.size()); ++first) {
      std::vector<Json> parts = {python_argument(arguments[first], /*is_first=*/true)};
      for (std::size_t i = first + 1; i < arguments.size(); ++i) {
        Json part = python_argument(arguments[i], /*is_first=*/false);
        parts.push_back(arguments[i].is_required ? std::move(part) : optional_part(std::move(part)));
      }
      ways.push_back(sequence_part(std::move(parts)));
    }
    return has_required ? ways.front() : optional_part(either_part(ways));
  }

  static Json python_map(const Json& schema) {
    Json name = {{"type", "regex"}, {"pattern", "[A-Za-z_][A-Za-z0-9_]*"}};
    const Json argument = sequence_part({std::move(name), text_part("="), schema_part(schema)});
    return optional_part(sequence_part({argument, repeat_part(sequence_part({text_part(", "), argument}))}));
  }

  const CallShape shape_;
  ArgumentList list_;
};

}  // namespace

ArgumentGrammar argument_grammar(const Json& schema, CallShape shape, std::size_t bytes_max) {
  return Maker(schema, shape, bytes_max).make();
}

}  // namespace coppice::server
