// Structural tags put together from formats ("type": "sequence", "or", …), each a JSON object.
#include "server/output/call_grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "proto/openai/json_reader.h"
#include "server/output/argument_grammar.h"
#include "server/output/tag_parts.h"

namespace coppice::server {
namespace {

using openai::bad_value;
using openai::Json;

bool is_strict(const Json& tool) {
  const Json& function = tool["function"];
  const auto strict = function.find("strict");
  return strict != function.end() && strict->is_boolean() && strict->get<bool>();
}

// The schema of the tool's arguments as it came.
Json schema_of(const Json& tool) {
  const Json& function = tool["function"];
  const auto found = function.find("parameters");
  Json schema = found == function.end() || !found->is_object() || found->empty()
                    ? Json{{"type", "object"}, {"properties", Json::object()}}
                    : *found;
  // A tool whose properties are none takes no arguments.
  if (schema.contains("properties") && schema["properties"].is_object() && schema["properties"].empty() &&
      !schema.contains("additionalProperties")) {
    schema["additionalProperties"] = false;
  }
  return schema;
}

bool is_json(const openai::OutputFormat& format) {
  return format.kind == openai::OutputFormatKind::kJsonObject || format.kind == openai::OutputFormatKind::kJsonSchema;
}

class Maker {
 public:
  Maker(const OutputRules& rules, const openai::ChatFields& chat, const openai::OutputFormat& content,
        const text::SchemaLimits& limits)
      : rules_(rules), format_(rules.tools()), chat_(chat), content_(content), limits_(limits) {}

  openai::Result<CallGrammar> make() {
    for (std::size_t i = 0; i < chat_.tools->size(); ++i) {
      const Json& tool = (*chat_.tools)[i];
      const std::string name = tool["function"]["name"].get<std::string>();
      if (chat_.tool_choice == openai::ToolChoice::kNamed && name != chat_.called_tool) {
        continue;
      }
      openai::Result<Json> arguments = arguments_of(tool, i);
      if (!arguments.ok()) {
        return std::move(arguments.error());
      }
      calls_.push_back(call(name, std::move(arguments.value())));
      bytes_ += openai::write_json(calls_.back()).size();
      if (bytes_ * copies() > limits_.bytes_max) {
        return bad_value("tools", fmt::format("the schemas of 'tools', written out for this model's format of calls, "
                                              "have more than {} bytes",
                                              limits_.bytes_max));
      }
    }
    Json tag = {{"type", "structural_tag"}};
    tag["format"] = chat_.tool_choice != openai::ToolChoice::kAuto ? calls_alone()
                    : is_json(content_)                            ? either_part({calls_alone(), json_content()})
                                                                   : any_text_with_calls();
    return CallGrammar{openai::write_json(tag), std::move(unenforced_)};
  }

 private:
  // How often calls stand in the tag.
  std::size_t copies() const {
    const bool has_joined = format_.joiner != 0 && !is_single();
    const bool begins_each = chat_.tool_choice == openai::ToolChoice::kAuto && !is_json(content_) &&
                             format_.start != 0 && !format_.closer.empty();
    return has_joined && begins_each ? calls_.size() + 1 : has_joined || format_.joiner == 0 ? 2 : 1;
  }

  bool is_single() const { return !chat_.parallel_tool_calls || chat_.tool_choice == openai::ToolChoice::kNamed; }

  Json mark(Terminal terminal) const {
    const std::optional<TokenId> token = rules_.token_of(terminal);
    return token ? token_part(*token) : text_part(rules_.text_of(terminal));
  }

  // What the tool's arguments may be. ERRORS: 400 for a strict tool's that cannot be enforced.
  openai::Result<Json> arguments_of(const Json& tool, std::size_t index) {
    const std::string field = fmt::format("tools[{}].function.parameters", index);
    const std::string pointer = fmt::format("#/tools/{}/function/parameters", index);
    Json schema = schema_of(tool);
    absl::StatusOr<text::CheckedSchema> checked = text::check_schema(openai::write_json(schema), limits_);
    if (!checked.ok()) {
      if (is_strict(tool)) {
        return bad_value(field, fmt::format("'{}': {}", field, std::string(checked.status().message())));
      }
      unenforced_.push_back({pointer, "schema", std::string(checked.status().message())});
      schema = {{"type", "object"}};
      checked = text::CheckedSchema();
    }
    std::vector<text::UnenforcedKeyword> unenforced = std::move(checked->unenforced);
    Json part;
    if (format_.shape == CallShape::kXml || format_.shape == CallShape::kPython) {
      ArgumentGrammar arguments = argument_grammar(schema, format_.shape, limits_.bytes_max);
      std::move(arguments.unenforced.begin(), arguments.unenforced.end(), std::back_inserter(unenforced));
      part = std::move(arguments.part);
    } else {
      part = schema_part(schema);
    }
    if (is_strict(tool) && !unenforced.empty()) {
      return bad_value(field, fmt::format("'{}' of a strict tool: {}", field, unenforced.front().message()));
    }
    add_unenforced(pointer, std::move(unenforced));
    return part;
  }

  // One call, without what stands around it.
  Json call(const std::string& name, Json arguments) const {
    switch (format_.shape) {
      case CallShape::kJson:
        return sequence_part(
            {text_part(fmt::format("{{\"name\": {}, \"{}\": ", openai::write_json(Json(name)), format_.arguments_key)),
             std::move(arguments), text_part("}")});
      case CallShape::kNamed:
        return sequence_part({text_part(name), mark(Terminal::kArguments), std::move(arguments)});
      case CallShape::kPython:
        return sequence_part({text_part(name + "("), std::move(arguments), text_part(")")});
      case CallShape::kXml:
        return sequence_part(
            {text_part(fmt::format("{}{}>", kFunctionMark, name)), std::move(arguments), text_part("\n</function>")});
      case CallShape::kNone:
        break;
    }
    return {};
  }

  // Between calls of one section; "": a section has one.
  std::string joiner() const {
    return format_.joiner == 0 ? "" : std::string(1, format_.joiner) + std::string(format_.between);
  }

  // What may stand between an opener and its first call.
  std::string before() const {
    std::string text(format_.before_call);
    return format_.list_open == 0 ? text : text + format_.list_open;
  }

  // Calls behind the first one of their section.
  void add_joined(std::vector<Json>& parts) const {
    if (format_.joiner != 0 && !is_single()) {
      parts.push_back(repeat_part(sequence_part({text_part(joiner()), either_part(calls_)})));
    }
  }

  // Calls in one section, with what opens and closes it.
  Json section() const {
    std::vector<Json> parts;
    if (format_.start == 0) {
      parts.push_back(mark(Terminal::kCall));
    }
    parts.push_back(text_part(before()));
    parts.push_back(either_part(calls_));
    add_joined(parts);
    parts.push_back(text_part(format_.after_call));
    if (!format_.closer.empty()) {
      parts.push_back(mark(Terminal::kClose));
    }
    return sequence_part(std::move(parts));
  }

  // At least one call, and no other text.
  Json calls_alone() const {
    if (is_single() || format_.joiner != 0) {
      return section();
    }
    return sequence_part({section(), repeat_part(sequence_part({text_part(format_.between), section()}))});
  }

  // An answer that calls nothing.
  Json json_content() {
    const bool is_object = content_.kind == openai::OutputFormatKind::kJsonObject;
    Json schema = Json::parse(is_object ? R"({"type":"object"})" : content_.text, nullptr, /*allow_exceptions=*/false);
    if (schema.is_discarded()) {
      return schema_part(Json(true));
    }
    if (absl::StatusOr<text::CheckedSchema> checked = text::check_schema(openai::write_json(schema), limits_);
        checked.ok()) {
      add_unenforced("#/" + content_.field, std::move(checked->unenforced));
    }
    return schema_part(schema);
  }

  void add_unenforced(const std::string& pointer, std::vector<text::UnenforcedKeyword> unenforced) {
    for (text::UnenforcedKeyword& keyword : unenforced) {
      keyword.pointer = pointer + keyword.pointer.substr(1);
      unenforced_.push_back(std::move(keyword));
    }
  }

  // Any text; what begins a call is one.
  Json any_text_with_calls() const {
    Json tags;
    if (const std::optional<TokenId> token = rules_.token_of(Terminal::kCall); token && format_.start == 0) {
      tags["type"] = "token_triggered_tags";
      tags["trigger_tokens"] = Json::array({*token});
      tags["tags"] = Json::array({token_tag(*token)});
    } else {
      tags["type"] = "triggered_tags";
      tags["triggers"] = Json::array();
      tags["tags"] = Json::array();
      if (format_.start == 0) {
        add_opener_tag(tags);
      } else {
        add_call_tags(before(), std::string(format_.after_call) + std::string(format_.closer), tags);
      }
      if (format_.opens_with_function) {
        add_call_tags("", "", tags);
      }
    }
    tags["stop_after_first"] = is_single();
    return tags;
  }

  // Calls of one section behind its beginning, up to the closer.
  Json section_content() const {
    std::vector<Json> parts = {either_part(calls_)};
    add_joined(parts);
    parts.push_back(text_part(format_.after_call));
    return sequence_part(std::move(parts));
  }

  Json token_tag(TokenId token) const {
    Json tag = {{"type", "tag"}, {"begin", token_part(token)}};
    tag["content"] = sequence_part({text_part(before()), section_content()});
    const std::optional<TokenId> close = rules_.token_of(Terminal::kClose);
    tag["end"] = close ? token_part(*close) : Json(std::string(format_.closer));
    return tag;
  }

  void add_opener_tag(Json& tags) const {
    tags["triggers"].push_back(std::string(format_.opener));
    Json tag = {{"type", "tag"}, {"begin", std::string(format_.opener) + before()}};
    tag["content"] = section_content();
    tag["end"] = std::string(format_.closer);
    tags["tags"].push_back(std::move(tag));
  }

  // A tag for each call: `before` and its own beginning, which what comes to it has to go on as.
  void add_call_tags(const std::string& before, const std::string& end, Json& tags) const {
    if (format_.shape == CallShape::kJson) {
      tags["triggers"].push_back(before + std::string(kNamedObject));
    }
    for (const Json& one : calls_) {
      const std::string begin = before + one["elements"][0]["value"].get<std::string>();
      std::vector<Json> rest(one["elements"].begin() + 1, one["elements"].end());
      Json tag = {{"type", "tag"}, {"begin", begin}, {"end", end}};
      if (end.empty() && rest.back()["type"] == "const_string") {
        tag["end"] = rest.back()["value"];  // joined calls are text that begins calls
        rest.pop_back();
      } else {
        add_joined(rest);
      }
      tag["content"] = sequence_part(std::move(rest));
      tags["tags"].push_back(std::move(tag));
      if (format_.shape != CallShape::kJson) {
        tags["triggers"].push_back(begin);
      }
    }
  }

  const OutputRules& rules_;
  const ToolFormat& format_;
  const openai::ChatFields& chat_;
  const openai::OutputFormat& content_;
  const text::SchemaLimits& limits_;
  std::vector<Json> calls_;  // one a tool
  std::size_t bytes_ = 0;    // of theirs, as JSON
  std::vector<text::UnenforcedKeyword> unenforced_;
};

}  // namespace

bool needs_call_grammar(const openai::ChatFields& chat, const openai::OutputFormat& content, const OutputRules& rules) {
  if (chat.tools == nullptr) {
    return false;
  }
  if (chat.tool_choice != openai::ToolChoice::kAuto) {
    return true;
  }
  if (!content.is_free()) {
    return is_json(content) && !rules.tools().is_none();
  }
  return std::any_of(chat.tools->begin(), chat.tools->end(), is_strict);
}

openai::Result<CallGrammar> call_grammar(const OutputRules& rules, const openai::ChatFields& chat,
                                         const openai::OutputFormat& content, const text::SchemaLimits& limits) {
  const bool is_choice = chat.tool_choice != openai::ToolChoice::kAuto;
  if (is_choice && !content.is_free() && !is_json(content)) {
    return bad_value("tool_choice",
                     fmt::format("'tool_choice' demands a call, and '{}' demands an answer that is none; "
                                 "send one of them",
                                 content.field));
  }
  if (rules.tools().is_none()) {
    return bad_value(is_choice ? "tool_choice" : "tools",
                     fmt::format("{} needs a model whose way of writing tool calls is known; this one's is not: the "
                                 "server's operator can name it (--tool-format)",
                                 is_choice ? "'tool_choice' that demands a call" : "a strict tool"));
  }
  return Maker(rules, chat, content, limits).make();
}

CallHold call_hold(const openai::ChatFields& chat, const openai::OutputFormat& content) {
  return chat.tool_choice != openai::ToolChoice::kAuto ? CallHold::kDemanded
         : is_json(content)                            ? CallHold::kInstead
                                                       : CallHold::kInText;
}

std::vector<text::UnenforcedKeyword> strict_tools_unheld(const openai::ChatFields& chat,
                                                         const openai::OutputFormat& content) {
  std::vector<text::UnenforcedKeyword> unenforced;
  const bool is_other = !content.is_free() && !is_json(content);
  for (std::size_t i = 0; is_other && chat.tools != nullptr && i < chat.tools->size(); ++i) {
    if (is_strict((*chat.tools)[i])) {
      unenforced.push_back({fmt::format("#/tools/{}/function", i), "strict", "another format holds the answer"});
    }
  }
  return unenforced;
}

}  // namespace coppice::server
