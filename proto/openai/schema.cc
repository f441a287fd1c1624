// Schemas: made, checked, written.
#include "proto/openai/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "proto/openai/json_reader.h"

namespace coppice::openai {
// Which members mean something depends on the kind.
struct Schema::Node {
  Node(Kind a_kind, std::string a_what) : kind(a_kind), what(std::move(a_what)) {}

  Kind kind;
  std::string name;  // of a component
  std::string what;  // what a value must be, in refusals
  std::int64_t least_integer = kIntegerMin;
  std::int64_t most_integer = kIntegerMax;
  std::optional<std::pair<double, double>> bounds;  // of a number
  std::size_t least = 0;                            // length of a string or an array
  std::optional<std::size_t> most;
  std::vector<std::string> words;  // kWord: the words; kTagged: of the alternatives
  std::string tag;
  std::string otherwise;
  Others others = Others::kIgnored;
  std::vector<Member> members;
  std::vector<Schema> parts;  // items, values, or alternatives
};

namespace {

MaybeError refuse(const std::string& name, std::string_view what, const Json& value) {
  const std::string subject = name.empty() ? "the request body" : fmt::format("'{}'", name);
  return bad_value(name, fmt::format("{} must be {}; got {}", subject, what, describe(value)));
}

std::string member_name(const std::string& object, const std::string& member) {
  return object.empty() ? member : object + "." + member;
}

std::string list_of(const std::vector<std::string>& words) {
  std::string list;
  for (std::size_t i = 0; i < words.size(); ++i) {
    list += i == 0 ? "" : i + 1 == words.size() ? " or " : ", ";
    list += fmt::format("\"{}\"", words[i]);
  }
  return list;
}

std::string array_text(std::size_t least, const std::optional<std::size_t>& most, const std::string& noun) {
  if (most) {
    return fmt::format("an array of {} to {} {}", least, *most, noun);
  }
  return least > 0 ? fmt::format("an array of at least {} {}", least, noun) : fmt::format("an array of {}", noun);
}

std::string string_text(std::size_t least, const std::optional<std::size_t>& most) {
  if (most) {
    return fmt::format("a string of {} to {} characters", least, *most);
  }
  return least > 0 ? "a string that is not empty" : "a string";
}

std::size_t character_count(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; }));
}

}  // namespace

// A schema of a kind; `fill` sets what else the kind has.
template <typename Fill>
Schema Schema::make(Node node, Fill fill) {
  fill(node);
  return Schema(std::make_shared<Node>(std::move(node)));
}

Schema Schema::any() {
  return make(Node(Kind::kAny, ""), [](Node&) {});
}

Schema Schema::null() {
  return make(Node(Kind::kNull, "null"), [](Node&) {});
}

Schema Schema::boolean() {
  return make(Node(Kind::kBoolean, "true or false"), [](Node&) {});
}

Schema Schema::integer(std::int64_t least, std::int64_t most) {
  return make(Node(Kind::kInteger, "an integer"), [&](Node& node) {
    node.least_integer = least;
    node.most_integer = most;
  });
}

Schema Schema::number() {
  return make(Node(Kind::kNumber, "a number"), [](Node&) {});
}

Schema Schema::number(double least, double most) {
  return make(Node(Kind::kNumber, "a number"), [&](Node& node) { node.bounds = std::pair(least, most); });
}

Schema Schema::string(std::size_t least, std::optional<std::size_t> most) {
  return make(Node(Kind::kString, string_text(least, most)), [&](Node& node) {
    node.least = least;
    node.most = most;
  });
}

Schema Schema::word(std::vector<std::string> words) {
  return make(Node(Kind::kWord, list_of(words)), [&](Node& node) { node.words = std::move(words); });
}

Schema Schema::array(Schema items, std::size_t least, std::optional<std::size_t> most, std::string noun) {
  return make(Node(Kind::kArray, array_text(least, most, noun)), [&](Node& node) {
    node.least = least;
    node.most = most;
    node.parts.push_back(std::move(items));
  });
}

Schema Schema::object(std::vector<Member> members, Others others) {
  return make(Node(Kind::kObject, "an object"), [&](Node& node) {
    node.members = std::move(members);
    node.others = others;
  });
}

Schema Schema::map(Schema values) {
  return make(Node(Kind::kMap, "an object"), [&](Node& node) { node.parts.push_back(std::move(values)); });
}

Schema Schema::one_of(std::string what, std::vector<Schema> alternatives) {
  return make(Node(Kind::kOneOf, std::move(what)), [&](Node& node) { node.parts = std::move(alternatives); });
}

Schema Schema::tagged(std::string tag, std::vector<std::pair<std::string, Schema>> alternatives,
                      std::string otherwise) {
  return make(Node(Kind::kTagged, ""), [&](Node& node) {
    for (auto& [word, schema] : alternatives) {
      node.words.push_back(word);
      node.parts.push_back(std::move(schema));
    }
    node.what = fmt::format("an object whose '{}' is {}", tag, list_of(node.words));
    node.tag = std::move(tag);
    node.otherwise = std::move(otherwise);
  });
}

Schema Schema::named(std::string name) const {
  return make(Node(*node_), [&](Node& node) { node.name = std::move(name); });
}

const std::string& Schema::name() const {
  return node_->name;
}

std::span<const Schema::Member> Schema::members() const {
  return node_->members;
}

std::vector<std::string> Schema::member_names() const {
  std::vector<std::string> names;
  for (const Member& member : node_->members) {
    names.push_back(member.name);
  }
  if (node_->kind == Kind::kOneOf) {
    for (const Schema& part : node_->parts) {
      for (std::string& name : part.member_names()) {
        if (std::find(names.begin(), names.end(), name) == names.end()) {
          names.push_back(std::move(name));
        }
      }
    }
  }
  return names;
}

std::string Schema::form() const {
  const Node& node = *node_;
  if (node.kind == Kind::kInteger && node.least_integer != kIntegerMin && node.most_integer != kIntegerMax) {
    return fmt::format("{} from {} to {}", node.what, node.least_integer, node.most_integer);
  }
  if (node.kind == Kind::kNumber && node.bounds) {
    return fmt::format("{} from {} to {}", node.what, node.bounds->first, node.bounds->second);
  }
  return node.kind == Kind::kAny ? "any value" : node.what;
}

// --- checking --------------------------------------------------------------------------------------------------------

bool Schema::has_type_of(const Json& value) const {
  switch (node_->kind) {
    case Kind::kAny:
      return true;
    case Kind::kNull:
      return value.is_null();
    case Kind::kBoolean:
      return value.is_boolean();
    case Kind::kInteger:
      return as_integer(value).has_value() || (value.is_number_unsigned() && node_->most_integer == kIntegerMax);
    case Kind::kNumber:
      return is_number(value);
    case Kind::kString:
    case Kind::kWord:
      return value.is_string();
    case Kind::kArray:
      return value.is_array() && (value.empty() || node_->parts.front().has_type_of(value.front()));
    case Kind::kObject:
    case Kind::kMap:
    case Kind::kTagged:
      return value.is_object();
    case Kind::kOneOf:
      return std::any_of(node_->parts.begin(), node_->parts.end(),
                         [&](const Schema& part) { return part.has_type_of(value); });
  }
  return false;
}

MaybeError Schema::check(const Json& value, const std::string& name) const {
  const Node& node = *node_;
  if (node.kind == Kind::kOneOf || node.kind == Kind::kTagged) {
    return check_alternatives(value, name);
  }
  if (node.kind == Kind::kArray ? !value.is_array() : !has_type_of(value)) {
    return refuse(name, node.what, value);
  }
  switch (node.kind) {
    case Kind::kInteger: {
      const std::int64_t number = as_integer(value).value_or(kIntegerMax);
      if (number < node.least_integer || number > node.most_integer) {
        return bad_value(name, fmt::format("'{}' must be from {} to {}; got {}", name, node.least_integer,
                                           node.most_integer, number));
      }
      return std::nullopt;
    }
    case Kind::kNumber: {
      const double number = as_double(value);
      if (node.bounds && !(number >= node.bounds->first && number <= node.bounds->second)) {
        return bad_value(name, fmt::format("'{}' must be from {} to {}; got {}", name, node.bounds->first,
                                           node.bounds->second, number));
      }
      return std::nullopt;
    }
    case Kind::kString: {
      const std::size_t length = character_count(value.get_ref<const std::string&>());
      return length < node.least || (node.most && length > *node.most) ? refuse(name, node.what, value) : std::nullopt;
    }
    case Kind::kWord: {
      const auto found = std::find(node.words.begin(), node.words.end(), value.get_ref<const std::string&>());
      return found == node.words.end() ? refuse(name, node.what, value) : std::nullopt;
    }
    case Kind::kArray:
      return check_array(value, name);
    case Kind::kObject:
    case Kind::kMap:
      return check_object(value, name);
    case Kind::kAny:
    case Kind::kNull:
    case Kind::kBoolean:
    case Kind::kOneOf:
    case Kind::kTagged:
      return std::nullopt;
  }
  return std::nullopt;
}

MaybeError Schema::check_array(const Json& value, const std::string& name) const {
  if (value.size() < node_->least || (node_->most && value.size() > *node_->most)) {
    return refuse(name, node_->what, value);
  }
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (MaybeError error = node_->parts.front().check(value[i], fmt::format("{}[{}]", name, i))) {
      return error;
    }
  }
  return std::nullopt;
}

MaybeError Schema::check_object(const Json& value, const std::string& name) const {
  if (node_->kind == Kind::kMap) {
    for (const auto& [key, item] : value.items()) {
      if (MaybeError error = node_->parts.front().check(item, member_name(name, key))) {
        return error;
      }
    }
    return std::nullopt;
  }
  for (const Member& member : node_->members) {
    const auto found = value.find(member.name);
    const std::string full = member_name(name, member.name);
    if (found == value.end() || (!member.is_required && found->is_null())) {
      if (member.is_required) {
        return bad_value(full, fmt::format("'{}' is missing: it must be {}", full, member.schema.node_->what));
      }
      continue;
    }
    if (MaybeError error = member.schema.check(*found, full)) {
      return error;
    }
  }
  if (node_->others == Others::kIgnored) {
    return std::nullopt;
  }
  for (const auto& entry : value.items()) {
    const std::string& key = entry.key();
    const auto knows = [&key](const Member& member) { return member.name == key; };
    if (std::none_of(node_->members.begin(), node_->members.end(), knows)) {
      constexpr std::size_t kShownBytes = 40;  // of a name that may be anything
      const std::string full = member_name(name, key.substr(0, kShownBytes));
      ApiError error = bad_value(full, fmt::format("'{}' is not a field of this request: leave it out", full));
      error.code = "unknown_parameter";
      return error;
    }
  }
  return std::nullopt;
}

MaybeError Schema::check_alternatives(const Json& value, const std::string& name) const {
  const Node& node = *node_;
  if (node.kind == Kind::kOneOf) {
    MaybeError first;
    for (const Schema& part : node.parts) {
      if (!part.has_type_of(value)) {
        continue;
      }
      MaybeError error = part.check(value, name);
      if (!error) {
        return std::nullopt;
      }
      if (!first) {
        first = std::move(error);
      }
    }
    return first ? std::move(first) : refuse(name, node.what, value);
  }
  const auto tag = value.is_object() ? value.find(node.tag) : value.end();
  const bool is_absent = tag == value.end() || tag->is_null();
  if (!value.is_object() || (is_absent ? node.otherwise.empty() : !tag->is_string())) {
    return refuse(name, node.what, value);
  }
  const std::string& chosen = is_absent ? node.otherwise : tag->get_ref<const std::string&>();
  const auto word = std::find(node.words.begin(), node.words.end(), chosen);
  if (word == node.words.end()) {
    return refuse(member_name(name, node.tag), list_of(node.words), *tag);
  }
  return node.parts[static_cast<std::size_t>(word - node.words.begin())].check(value, name);
}

// --- writing ---------------------------------------------------------------------------------------------------------

void Schema::write(JsonWriter& out, bool in_full) const {
  const Node& node = *node_;
  out.begin_object();
  if (!node.name.empty() && !in_full) {
    out.key("$ref").string("#/components/schemas/" + node.name).end_object();
    return;
  }
  switch (node.kind) {
    case Kind::kAny:
      break;
    case Kind::kNull:
      out.key("type").string("null");
      break;
    case Kind::kBoolean:
      out.key("type").string("boolean");
      break;
    case Kind::kInteger:
    case Kind::kNumber:
    case Kind::kString:
    case Kind::kWord:
    case Kind::kArray:
      write_bounds(out);
      break;
    case Kind::kObject:
    case Kind::kMap:
      write_object(out);
      break;
    case Kind::kOneOf:
    case Kind::kTagged:
      write_alternatives(out);
      break;
  }
  out.end_object();
}

void Schema::write_bounds(JsonWriter& out) const {
  const Node& node = *node_;
  switch (node.kind) {
    case Kind::kInteger:
      out.key("type").string("integer");
      if (node.least_integer != kIntegerMin) {
        out.key("minimum").integer(node.least_integer);
      }
      if (node.most_integer != kIntegerMax) {
        out.key("maximum").integer(node.most_integer);
      }
      return;
    case Kind::kNumber:
      out.key("type").string("number");
      if (node.bounds) {
        out.key("minimum").number(node.bounds->first).key("maximum").number(node.bounds->second);
      }
      return;
    case Kind::kWord:
      out.key("type").string("string").key("enum").begin_array();
      for (const std::string& word : node.words) {
        out.string(word);
      }
      out.end_array();
      return;
    default:
      break;
  }
  const bool is_array = node.kind == Kind::kArray;
  out.key("type").string(is_array ? "array" : "string");
  if (node.least > 0) {
    out.key(is_array ? "minItems" : "minLength").integer(static_cast<std::int64_t>(node.least));
  }
  if (node.most) {
    out.key(is_array ? "maxItems" : "maxLength").integer(static_cast<std::int64_t>(*node.most));
  }
  if (is_array) {
    node.parts.front().write(out.key("items"));
  }
}

void Schema::write_object(JsonWriter& out) const {
  const Node& node = *node_;
  out.key("type").string("object");
  if (node.kind == Kind::kMap) {
    node.parts.front().write(out.key("additionalProperties"));
    return;
  }
  out.key("properties").begin_object();
  for (const Member& member : node.members) {
    out.key(member.name);
    if (member.is_required && member.meaning.empty()) {
      member.schema.write(out);
      continue;
    }
    out.begin_object();
    if (!member.meaning.empty()) {
      out.key("description").string(member.meaning);
    }
    out.key("anyOf").begin_array();
    member.schema.write(out);
    if (!member.is_required) {
      null().write(out);
    }
    out.end_array().end_object();
  }
  out.end_object();
  const auto is_required = [](const Member& member) { return member.is_required; };
  if (std::any_of(node.members.begin(), node.members.end(), is_required)) {
    out.key("required").begin_array();
    for (const Member& member : node.members) {
      if (member.is_required) {
        out.string(member.name);
      }
    }
    out.end_array();
  }
  if (node.others == Others::kRefused) {
    out.key("additionalProperties").boolean(false);
  }
}

void Schema::write_alternatives(JsonWriter& out) const {
  out.key("anyOf").begin_array();
  for (const Schema& part : node_->parts) {
    part.write(out);
  }
  out.end_array();
}

void Schema::list_named(std::vector<Schema>& list) const {
  for (const Member& member : node_->members) {
    member.schema.list_named(list);
  }
  for (const Schema& part : node_->parts) {
    part.list_named(list);
  }
  const auto has_name = [this](const Schema& other) { return other.name() == name(); };
  if (!name().empty() && std::none_of(list.begin(), list.end(), has_name)) {
    list.push_back(*this);
  }
}

}  // namespace coppice::openai
