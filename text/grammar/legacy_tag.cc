// One `triggered_tags` for all structures.
#include "text/grammar/legacy_tag.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/status_macros.h"

namespace coppice::text {
namespace {

bool is_text(const SchemaJson& json) {
  return json.is_string();
}

bool begins_with_any(const std::string& text, const SchemaJson& triggers) {
  return std::any_of(triggers.begin(), triggers.end(),
                     [&](const SchemaJson& trigger) { return text.rfind(trigger.get<std::string>(), 0) == 0; });
}

absl::StatusOr<SchemaJson> to_tag(const SchemaJson& structure, const std::string& pointer, const SchemaJson& triggers,
                                  int white_space_max) {
  const bool is_whole = structure.is_object() && structure.contains("begin") && is_text(structure["begin"]) &&
                        structure.contains("end") && is_text(structure["end"]) && structure.contains("schema");
  if (!is_whole) {
    return absl::InvalidArgumentError(pointer + " is no object with `begin`, `schema` and `end`");
  }
  if (!begins_with_any(structure["begin"].get<std::string>(), triggers)) {
    return absl::InvalidArgumentError(pointer + "/begin: begins with none of the triggers");
  }
  SchemaJson content = {{"type", "json_schema"}, {"json_schema", structure["schema"]}};
  content["max_whitespace_cnt"] = white_space_max;
  SchemaJson tag = {{"begin", structure["begin"]}, {"end", structure["end"]}};
  tag["content"] = std::move(content);
  return tag;
}

}  // namespace

bool is_legacy_tag(const SchemaJson& tag) {
  return tag.is_object() && tag.contains("structures") && !tag.contains("format");
}

absl::StatusOr<SchemaJson> to_current_tag(const SchemaJson& tag, int white_space_max) {
  const SchemaJson& structures = tag["structures"];
  if (!structures.is_array() || structures.empty()) {
    return absl::InvalidArgumentError("#/structures is no array with at least one structure");
  }
  const bool has_triggers = tag.contains("triggers") && tag["triggers"].is_array() && !tag["triggers"].empty() &&
                            std::all_of(tag["triggers"].begin(), tag["triggers"].end(), is_text);
  if (!has_triggers) {
    return absl::InvalidArgumentError("#/triggers is no array with at least one text");
  }
  SchemaJson format = {{"type", "triggered_tags"}, {"triggers", tag["triggers"]}, {"tags", SchemaJson::array()}};
  for (std::size_t i = 0; i < structures.size(); ++i) {
    COPPICE_ASSIGN_OR_RETURN(
        SchemaJson one, to_tag(structures[i], "#/structures/" + std::to_string(i), tag["triggers"], white_space_max));
    format["tags"].push_back(std::move(one));
  }
  SchemaJson current = {{"type", "structural_tag"}};
  current["format"] = std::move(format);
  return current;
}

}  // namespace coppice::text
