// Structural tags put together from formats ("type": "sequence", "or", …), each a JSON object.
#include "server/output/call_grammar.h"

#include <fmt/format.h>

#include <algorithm>
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

// The schema of the tool's arguments. ERRORS: 400 for a strict tool's that cannot be enforced.
openai::Result<Json> schema_of(const Json& tool, std::size_t index, CallShape shape, const text::SchemaLimits& limits) {
  const Json& function = tool["function"];
  const auto found = function.find("parameters");
  Json schema = found == function.end() || !found->is_object() || found->empty()
                    ? Json{{"type", "object"}, {"properties", Json::object()}}
                    : *found;
  const std::string field = fmt::format("tools[{}].function.parameters", index);
  const absl::StatusOr<text::CheckedSchema> checked = text::check_schema(openai::write_json(schema), limits);
  if (!is_strict(tool)) {
    return checked.ok() ? std::move(schema) : Json{{"type", "object"}};
  }
  if (!checked.ok()) {
    return bad_value(field, fmt::format("'{}': {}", field, std::string(checked.status().message())));
  }
  std::string problem = checked->unenforced.empty() ? "" : checked->unenforced.front().message();
  if (problem.empty() && (shape == CallShape::kXml || shape == CallShape::kPython)) {
    problem = unenforced_argument(schema, shape);
  }
  if (!problem.empty()) {
    return bad_value(field, fmt::format("'{}' of a strict tool: {}", field, problem));
  }
  return schema;
}

class Maker {
 public:
  Maker(const OutputRules& rules, const openai::ChatFields& chat, const text::SchemaLimits& limits)
      : rules_(rules), format_(rules.tools()), chat_(chat), limits_(limits) {}

  openai::Result<std::string> make() {
    for (std::size_t i = 0; i < chat_.tools->size(); ++i) {
      const Json& tool = (*chat_.tools)[i];
      const std::string name = tool["function"]["name"].get<std::string>();
      if (chat_.tool_choice == openai::ToolChoice::kNamed && name != chat_.called_tool) {
        continue;
      }
      openai::Result<Json> schema = schema_of(tool, i, format_.shape, limits_);
      if (!schema.ok()) {
        return std::move(schema.error());
      }
      calls_.push_back(call(name, schema.value()));
    }
    Json tag = {{"type", "structural_tag"}};
    tag["format"] = chat_.tool_choice == openai::ToolChoice::kAuto ? any_text_with_calls() : calls_alone();
    return openai::write_json(tag);
  }

 private:
  bool is_single() const { return !chat_.parallel_tool_calls || chat_.tool_choice == openai::ToolChoice::kNamed; }

  Json mark(Terminal terminal) const {
    const std::optional<TokenId> token = rules_.token_of(terminal);
    return token ? token_part(*token) : text_part(rules_.text_of(terminal));
  }

  // One call, without what stands around it.
  Json call(const std::string& name, const Json& schema) const {
    switch (format_.shape) {
      case CallShape::kJson:
        return sequence_part(
            {text_part(fmt::format("{{\"name\": {}, \"{}\": ", openai::write_json(Json(name)), format_.arguments_key)),
             schema_part(schema), text_part("}")});
      case CallShape::kNamed:
        return sequence_part({text_part(name), mark(Terminal::kArguments), schema_part(schema)});
      case CallShape::kPython:
        return sequence_part({text_part(name + "("), python_arguments(schema), text_part(")")});
      case CallShape::kXml:
        return sequence_part(
            {text_part(fmt::format("{}{}>", kFunctionMark, name)), xml_arguments(schema), text_part("\n</function>")});
      case CallShape::kNone:
        break;
    }
    return {};
  }

  // Calls in one section, without its opener: with joiners as many as may be, else one.
  Json section() const {
    std::vector<Json> parts;
    std::string before(format_.before_call);
    if (format_.list_open != 0) {
      before += format_.list_open;
    }
    add_text(before, parts);
    const Json one = either_part(calls_);
    parts.push_back(one);
    if (format_.joiner != 0 && !is_single()) {
      parts.push_back(repeat_part(sequence_part({text_part(joiner()), one})));
    }
    add_text(std::string(format_.after_call), parts);
    if (!format_.closer.empty()) {
      parts.push_back(mark(Terminal::kClose));
    }
    return sequence_part(std::move(parts));
  }

  std::string joiner() const { return std::string(1, format_.joiner) + std::string(format_.between); }

  static void add_text(const std::string& text, std::vector<Json>& parts) {
    if (!text.empty()) {
      parts.push_back(text_part(text));
    }
  }

  // At least one call, and no other text.
  Json calls_alone() const {
    if (format_.start != 0) {  // needs no opener
      return section();
    }
    const Json one = sequence_part({mark(Terminal::kCall), section()});
    if (is_single() || format_.joiner != 0) {
      return one;
    }
    std::vector<Json> more;
    add_text(std::string(format_.between), more);
    more.push_back(one);
    return sequence_part({one, repeat_part(sequence_part(std::move(more)))});
  }

  // Any text; what begins a call is one.
  Json any_text_with_calls() const {
    if (format_.start != 0) {
      return text_with_bare_calls();
    }
    const std::optional<TokenId> token = rules_.token_of(Terminal::kCall);
    Json tag = {{"type", "tag"}};
    tag["begin"] = token ? token_part(*token) : Json(rules_.text_of(Terminal::kCall));
    tag["content"] = section();
    tag["end"] = "";
    Json tags = {{"type", token ? "token_triggered_tags" : "triggered_tags"}};
    tags[token ? "trigger_tokens" : "triggers"] = Json::array({token ? Json(*token) : tag["begin"]});
    tags["tags"] = Json::array({std::move(tag)});
    tags["stop_after_first"] = is_single();
    return tags;
  }

  // A call that nothing opens: its own beginning is the trigger.
  Json text_with_bare_calls() const {
    Json tags = {{"type", "triggered_tags"}};
    tags["triggers"] = Json::array();
    tags["tags"] = Json::array();
    for (const Json& one : calls_) {
      std::string begin = one["elements"][0]["value"];
      if (format_.list_open != 0) {
        begin = format_.list_open + begin;
      }
      std::vector<Json> rest(one["elements"].begin() + 1, one["elements"].end());
      if (format_.joiner != 0 && !is_single()) {
        rest.push_back(repeat_part(sequence_part({text_part(joiner()), either_part(calls_)})));
      }
      add_text(std::string(format_.closer), rest);
      Json tag = {{"type", "tag"}, {"begin", begin}};
      tag["content"] = sequence_part(std::move(rest));
      tag["end"] = "";
      tags["tags"].push_back(std::move(tag));
      if (format_.shape == CallShape::kPython) {
        tags["triggers"].push_back(begin);
      }
    }
    if (format_.shape == CallShape::kJson) {
      tags["triggers"].push_back("{\"name\": \"");
    }
    tags["stop_after_first"] = is_single();
    return tags;
  }

  const OutputRules& rules_;
  const ToolFormat& format_;
  const openai::ChatFields& chat_;
  const text::SchemaLimits& limits_;
  std::vector<Json> calls_;  // one a tool
};

}  // namespace

bool needs_call_grammar(const openai::ChatFields& chat) {
  if (chat.tools == nullptr || chat.tool_choice == openai::ToolChoice::kNone) {
    return false;
  }
  return chat.tool_choice != openai::ToolChoice::kAuto ||
         std::any_of(chat.tools->begin(), chat.tools->end(), is_strict);
}

openai::Result<std::string> call_grammar(const OutputRules& rules, const openai::ChatFields& chat,
                                         const text::SchemaLimits& limits) {
  if (rules.tools().is_none()) {
    const bool is_choice = chat.tool_choice != openai::ToolChoice::kAuto;
    return bad_value(is_choice ? "tool_choice" : "tools",
                     fmt::format("{} needs a model whose way of writing tool calls is known; this one's is not: the "
                                 "server's operator can name it (--tool-format)",
                                 is_choice ? "'tool_choice' that demands a call" : "a strict tool"));
  }
  return Maker(rules, chat, limits).make();
}

}  // namespace coppice::server
