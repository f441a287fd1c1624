// What a request asks for, in the form that the engine compiles.
#include "text/grammar/grammar_spec.h"

#include <utility>

#include "base/status_macros.h"
#include "text/grammar/expression.h"
#include "text/grammar/legacy_tag.h"
#include "text/grammar/schema_walk.h"

namespace coppice::text {
namespace {

std::string dump(const SchemaJson& json) {
  return json.dump(-1, ' ', false, SchemaJson::error_handler_t::replace);
}

// Compiling takes its time and memory from these; they are ours to bound because the engine expands them.
absl::Status check_ebnf_repeats(std::string_view grammar) {
  bool in_string = false;
  for (std::size_t at = 0; at < grammar.size(); ++at) {
    if (grammar[at] == '\\') {
      ++at;
    } else if (grammar[at] == '"') {
      in_string = !in_string;
    } else if (!in_string && (grammar[at] == '{' || grammar[at] == ',')) {
      std::int64_t bound = 0;
      for (++at; at < grammar.size() && (grammar[at] == ' ' || (grammar[at] >= '0' && grammar[at] <= '9')); ++at) {
        bound = grammar[at] == ' ' ? bound : std::min<std::int64_t>(bound * 10 + (grammar[at] - '0'), INT32_MAX);
      }
      if (bound > kRepeatMax) {
        return absl::OutOfRangeError("a repetition of the grammar is longer than " + std::to_string(kRepeatMax));
      }
      --at;
    }
  }
  return absl::OkStatus();
}

// Checks what lies inside a structural tag: schemas, expressions and grammars.
// Values of a tag outside its schemas. A hundred tools of ten parameters each, in XML's form, take some 30,000.
constexpr std::int64_t kTagValuesMax = 100'000;

class TagWalk {
 public:
  TagWalk(const SchemaLimits& limits, int white_space_max) : limits_(limits), white_space_max_(white_space_max) {}

  absl::Status walk(SchemaJson& node, const std::string& pointer) {
    if (++nodes_ > kTagValuesMax) {
      return absl::OutOfRangeError("the structural tag has more than " + std::to_string(kTagValuesMax) + " values");
    }
    if (node.is_array()) {
      for (std::size_t i = 0; i < node.size(); ++i) {
        COPPICE_RETURN_IF_ERROR(walk(node[i], pointer + "/" + std::to_string(i)));
      }
      return absl::OkStatus();
    }
    return node.is_object() ? walk_object(node, pointer) : absl::OkStatus();
  }

  std::vector<UnenforcedKeyword> take_unenforced() { return std::move(unenforced_); }

 private:
  absl::Status walk_object(SchemaJson& node, const std::string& pointer) {
    const std::string type = node.contains("type") && node["type"].is_string() ? node["type"].get<std::string>() : "";
    for (const char* keyword : {"min", "max"}) {
      if (type == "repeat" && node.contains(keyword) && node[keyword].is_number() && node[keyword] > kRepeatMax) {
        return absl::OutOfRangeError(pointer + ": a repetition is longer than " + std::to_string(kRepeatMax));
      }
    }
    if (type == "regex" && node.contains("pattern") && node["pattern"].is_string()) {
      COPPICE_ASSIGN_OR_RETURN(node["pattern"], enforceable_expression(node["pattern"].get<std::string>(),
                                                                       ExpressionUse::kText, ExpressionMatch::kWhole));
    }
    if (type == "grammar" && node.contains("grammar") && node["grammar"].is_string()) {
      COPPICE_RETURN_IF_ERROR(check_ebnf_repeats(node["grammar"].get<std::string>()));
    }
    for (auto& [key, value] : node.items()) {
      // A tag without `type` may stand for a schema too: structural tags of before 0.2 name it `schema`.
      if (key == "json_schema" || key == "schema") {
        COPPICE_RETURN_IF_ERROR(schema(value, pointer + "/" + key));
      } else {
        COPPICE_RETURN_IF_ERROR(walk(value, pointer + "/" + key));
      }
    }
    if (node.contains("json_schema")) {
      node["max_whitespace_cnt"] = white_space_max_;
    }
    return absl::OkStatus();
  }

  absl::Status schema(SchemaJson& node, const std::string& pointer) {
    absl::StatusOr<CheckedSchema> checked = check_schema(dump(node), limits_);
    if (!checked.ok()) {
      return absl::Status(checked.status().code(), pointer + ": " + std::string(checked.status().message()));
    }
    node = SchemaJson::parse(checked->json);
    for (UnenforcedKeyword& keyword : checked->unenforced) {
      keyword.pointer = pointer + keyword.pointer.substr(1);
      unenforced_.push_back(std::move(keyword));
    }
    return absl::OkStatus();
  }

  const SchemaLimits& limits_;
  int white_space_max_;
  std::int64_t nodes_ = 0;
  std::vector<UnenforcedKeyword> unenforced_;
};

absl::StatusOr<CheckedSpec> check_tag(SchemaJson tag, const SchemaLimits& limits, int white_space_max) {
  TagWalk walk(limits, white_space_max);
  COPPICE_RETURN_IF_ERROR(walk.walk(tag, "#"));
  if (is_legacy_tag(tag)) {
    COPPICE_ASSIGN_OR_RETURN(tag, to_current_tag(tag, white_space_max));
  }
  return CheckedSpec{GrammarKind::kStructuralTag, dump(tag), walk.take_unenforced()};
}

absl::StatusOr<CheckedSpec> check_choices(const std::vector<std::string>& choices, const SchemaLimits& limits) {
  if (choices.empty()) {
    return absl::InvalidArgumentError("there is nothing to choose from");
  }
  if (static_cast<std::int64_t>(choices.size()) > limits.alternatives_max) {
    return absl::OutOfRangeError("there are more than " + std::to_string(limits.alternatives_max) + " choices");
  }
  SchemaJson elements = SchemaJson::array();
  for (const std::string& choice : choices) {
    if (choice.empty()) {
      return absl::InvalidArgumentError("a choice is empty");
    }
    elements.push_back(SchemaJson{{"type", "const_string"}, {"value", choice}});
  }
  const SchemaJson either = {{"type", "or"}, {"elements", std::move(elements)}};
  return CheckedSpec{GrammarKind::kStructuralTag, dump(SchemaJson{{"type", "structural_tag"}, {"format", either}}), {}};
}

absl::StatusOr<CheckedSpec> checked_of_kind(const GrammarSpec& spec, const SchemaLimits& limits, int white_space_max) {
  switch (spec.kind) {
    case GrammarKind::kJsonObject:
    case GrammarKind::kJsonSchema: {
      const std::string schema = spec.kind == GrammarKind::kJsonObject ? R"({"type":"object"})" : spec.text;
      COPPICE_ASSIGN_OR_RETURN(CheckedSchema checked, check_schema(schema, limits));
      return CheckedSpec{GrammarKind::kJsonSchema, std::move(checked.json), std::move(checked.unenforced)};
    }
    case GrammarKind::kRegex: {
      COPPICE_ASSIGN_OR_RETURN(std::string expression,
                               enforceable_expression(spec.text, ExpressionUse::kText, ExpressionMatch::kWhole));
      return CheckedSpec{GrammarKind::kRegex, std::move(expression), {}};
    }
    case GrammarKind::kEbnf:
      COPPICE_RETURN_IF_ERROR(check_ebnf_repeats(spec.text));
      return CheckedSpec{GrammarKind::kEbnf, spec.text, {}};
    case GrammarKind::kChoice:
      return check_choices(spec.choices, limits);
    case GrammarKind::kStructuralTag: {
      SchemaJson tag = SchemaJson::parse(spec.text, nullptr, false);
      if (!tag.is_object()) {
        return absl::InvalidArgumentError("the structural tag is no JSON object");
      }
      return check_tag(std::move(tag), limits, white_space_max);
    }
  }
  return absl::InternalError("an unknown kind of grammar");
}

}  // namespace

std::string canonical_text(const GrammarSpec& spec) {
  std::string text = std::to_string(static_cast<int>(spec.kind)) + (spec.strict ? "s" : "w");
  if (spec.kind == GrammarKind::kChoice) {
    for (const std::string& choice : spec.choices) {
      text += std::to_string(choice.size()) + ":" + choice;
    }
    return text;
  }
  const bool is_json = spec.kind == GrammarKind::kJsonSchema || spec.kind == GrammarKind::kStructuralTag;
  const SchemaJson json =
      is_json ? SchemaJson::parse(spec.text, nullptr, false) : SchemaJson(SchemaJson::value_t::discarded);
  return text + (json.is_discarded() ? spec.text : dump(json));
}

absl::StatusOr<CheckedSpec> check_spec(const GrammarSpec& spec, const SchemaLimits& limits, int white_space_max) {
  if (spec.text.size() > limits.bytes_max) {
    return absl::OutOfRangeError("the grammar has more than " + std::to_string(limits.bytes_max) + " bytes");
  }
  COPPICE_ASSIGN_OR_RETURN(CheckedSpec checked, checked_of_kind(spec, limits, white_space_max));
  if (spec.strict && !checked.unenforced.empty()) {
    return absl::InvalidArgumentError(checked.unenforced.front().message());
  }
  return checked;
}

}  // namespace coppice::text
