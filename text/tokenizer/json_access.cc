// Checked access to nlohmann::json. No exception of the library leaves this file.
#include "text/tokenizer/json_access.h"

#include "base/status_macros.h"
#include "fmt/format.h"

namespace coppice::text {
namespace {

// Checks the depth before parsing: the parser is iterative, but deep values cost much memory and the readers of
// components recurse.
bool too_deep(std::string_view text) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\') {
        ++at;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kJsonDepthMax) {
        return true;
      }
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

absl::Status wrong_type(std::string_view key, std::string_view where, std::string_view wanted) {
  return invalid_field(where, fmt::format("\"{}\" must be {}", key, wanted));
}

}  // namespace

absl::Status invalid_field(std::string_view where, std::string_view what) {
  return absl::InvalidArgumentError(fmt::format("{}: {}", where, what));
}

absl::StatusOr<Json> parse_json_object(std::string_view text, std::string_view where) {
  if (text.size() > kJsonBytesMax) {
    return invalid_field(where, fmt::format("larger than {} bytes", kJsonBytesMax));
  }
  if (too_deep(text)) {
    return invalid_field(where, fmt::format("nested deeper than {} levels", kJsonDepthMax));
  }
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& exception) {
    return invalid_field(where, fmt::format("not JSON: {}", exception.what()));
  }
  if (!json.is_object()) {
    return invalid_field(where, "must be a JSON object");
  }
  return json;
}

const Json* find_member(const Json& object, std::string_view key) {
  if (!object.is_object()) {
    return nullptr;
  }
  const auto found = object.find(std::string(key));
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

absl::StatusOr<bool> bool_field(const Json& object, std::string_view key, bool fallback, std::string_view where) {
  COPPICE_ASSIGN_OR_RETURN(const std::optional<bool> value, optional_bool_field(object, key, where));
  return value.value_or(fallback);
}

absl::StatusOr<std::optional<bool>> optional_bool_field(const Json& object, std::string_view key,
                                                        std::string_view where) {
  const Json* value = find_member(object, key);
  if (value == nullptr) {
    return std::optional<bool>();
  }
  if (!value->is_boolean()) {
    return wrong_type(key, where, "true or false");
  }
  return std::optional<bool>(value->get<bool>());
}

absl::StatusOr<std::string> string_field(const Json& object, std::string_view key, std::string_view fallback,
                                         std::string_view where) {
  const Json* value = find_member(object, key);
  if (value == nullptr) {
    return std::string(fallback);
  }
  if (!value->is_string()) {
    return wrong_type(key, where, "a string");
  }
  return value->get<std::string>();
}

absl::StatusOr<std::int64_t> integer_field(const Json& object, std::string_view key, std::int64_t fallback,
                                           std::string_view where) {
  const Json* value = find_member(object, key);
  if (value == nullptr) {
    return fallback;
  }
  if (!value->is_number_integer() || (value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX)) {
    return wrong_type(key, where, "an integer");
  }
  return value->get<std::int64_t>();
}

absl::StatusOr<std::string> type_field(const Json& object, std::string_view where) {
  if (!object.is_object()) {
    return invalid_field(where, "must be an object");
  }
  const Json* value = find_member(object, "type");
  if (value == nullptr || !value->is_string()) {
    return wrong_type("type", where, "a string");
  }
  return value->get<std::string>();
}

absl::StatusOr<const Json*> array_field(const Json& object, std::string_view key, std::string_view where) {
  const Json* value = find_member(object, key);
  if (value == nullptr || !value->is_array()) {
    return wrong_type(key, where, "an array");
  }
  return value;
}

absl::StatusOr<std::int32_t> token_id_value(const Json& value, std::string_view where) {
  if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<std::uint64_t>() >= kVocabularyMax)) {
    return invalid_field(where, "must be a token id");
  }
  const std::int64_t id = value.get<std::int64_t>();
  if (id < 0 || id >= kVocabularyMax) {
    return invalid_field(where, fmt::format("token id {} is out of range", id));
  }
  return static_cast<std::int32_t>(id);
}

}  // namespace coppice::text
