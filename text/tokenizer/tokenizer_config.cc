// tokenizer_config.json and the files beside it, field by field.
#include "text/tokenizer/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <system_error>

#include "base/file.h"
#include "base/python_json.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "text/tokenizer/added_token_json.h"
#include "text/tokenizer/json_access.h"

namespace coppice::text {
namespace {

constexpr std::string_view kFile = "tokenizer_config.json";
// Bytes of a file with chat templates; bounds memory. The largest in use have tens of KB.
constexpr std::size_t kTemplateBytesMax = std::size_t{4} << 20;
constexpr std::size_t kTemplatesMax = 64;  // named templates of a folder; bounds memory, models have up to 3
constexpr std::string_view kJinjaSuffix = ".jinja";

// A token is written as its text, or as an object with "content".
absl::StatusOr<std::string> token_content(const Json& value, std::string_view where) {
  if (value.is_string()) {
    return value.get<std::string>();
  }
  const Json* content = find_member(value, "content");
  if (content == nullptr || !content->is_string()) {
    return invalid_field(where, "must be a string or an object with \"content\"");
  }
  return content->get<std::string>();
}

absl::Status read_role(const Json& json, std::string_view key, std::string_view file, std::string& role) {
  const Json* value = find_member(json, key);
  if (value == nullptr || !role.empty()) {
    return absl::OkStatus();
  }
  // Old files write false for "none".
  if (value->is_boolean()) {
    return absl::OkStatus();
  }
  COPPICE_ASSIGN_OR_RETURN(role, token_content(*value, fmt::format("{}: {}", file, key)));
  return absl::OkStatus();
}

absl::Status read_roles(const Json& json, std::string_view file, TokenizerConfig& config) {
  COPPICE_RETURN_IF_ERROR(read_role(json, "bos_token", file, config.bos_token));
  COPPICE_RETURN_IF_ERROR(read_role(json, "eos_token", file, config.eos_token));
  COPPICE_RETURN_IF_ERROR(read_role(json, "unk_token", file, config.unk_token));
  COPPICE_RETURN_IF_ERROR(read_role(json, "pad_token", file, config.pad_token));
  for (const std::string_view key : {"additional_special_tokens", "extra_special_tokens"}) {
    const Json* list = find_member(json, key);
    if (list == nullptr) {
      continue;
    }
    if (!list->is_array() && !list->is_object()) {
      return invalid_field(fmt::format("{}: {}", file, key), "must be a list of tokens");
    }
    for (const Json& value : *list) {
      COPPICE_ASSIGN_OR_RETURN(std::string content, token_content(value, fmt::format("{}: {}", file, key)));
      config.additional_special_tokens.push_back(std::move(content));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<TokenId> id_of_key(const std::string& key, std::string_view where) {
  TokenId id = -1;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= kVocabularyMax) {
    return invalid_field(where, fmt::format("\"{}\" is no token id", key));
  }
  return id;
}

absl::Status read_added_tokens(const Json& json, TokenizerConfig& config) {
  const Json* decoder = find_member(json, "added_tokens_decoder");
  if (decoder == nullptr) {
    return absl::OkStatus();
  }
  const std::string where = fmt::format("{}: added_tokens_decoder", kFile);
  if (!decoder->is_object()) {
    return invalid_field(where, "must be an object");
  }
  for (const auto& [key, value] : decoder->items()) {
    COPPICE_ASSIGN_OR_RETURN(const TokenId id, id_of_key(key, where));
    COPPICE_ASSIGN_OR_RETURN(AddedToken token, added_token_from_json(value, id, fmt::format("{}.{}", where, key)));
    config.added_tokens.push_back(std::move(token));
  }
  std::sort(config.added_tokens.begin(), config.added_tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return absl::OkStatus();
}

void set_template(const std::string& name, std::string source, TokenizerConfig& config) {
  for (NamedTemplate& known : config.chat_templates) {
    if (known.name == name) {
      known.source = std::move(source);
      return;
    }
  }
  config.chat_templates.push_back({name, std::move(source)});
}

absl::Status read_templates(const Json& json, std::string_view file, TokenizerConfig& config) {
  const Json* value = find_member(json, "chat_template");
  if (value == nullptr) {
    return absl::OkStatus();
  }
  const std::string where = fmt::format("{}: chat_template", file);
  if (value->is_string()) {
    set_template("default", value->get<std::string>(), config);
    return absl::OkStatus();
  }
  if (!value->is_array() || value->size() > kTemplatesMax) {
    return invalid_field(where, "must be a string or a list of named templates");
  }
  for (const Json& entry : *value) {
    COPPICE_ASSIGN_OR_RETURN(const std::string name, string_field(entry, "name", "", where));
    COPPICE_ASSIGN_OR_RETURN(std::string source, string_field(entry, "template", "", where));
    if (name.empty() || find_member(entry, "template") == nullptr) {
      return invalid_field(where, "every entry needs \"name\" and \"template\"");
    }
    set_template(name, std::move(source), config);
  }
  return absl::OkStatus();
}

absl::Status read_control_tokens(const Json& json, TokenizerConfig& config) {
  const Json* list = find_member(json, "chat_control_tokens");
  if (list == nullptr) {
    return absl::OkStatus();
  }
  if (!list->is_array()) {
    return invalid_field(kFile, "\"chat_control_tokens\" must be a list of strings");
  }
  config.chat_control_tokens.emplace();
  for (const Json& token : *list) {
    COPPICE_ASSIGN_OR_RETURN(std::string content, token_content(token, fmt::format("{}: chat_control_tokens", kFile)));
    config.chat_control_tokens->push_back(std::move(content));
  }
  return absl::OkStatus();
}

absl::Status read_flags(const Json& json, TokenizerConfig& config) {
  COPPICE_ASSIGN_OR_RETURN(config.tokenizer_class, string_field(json, "tokenizer_class", "", kFile));
  COPPICE_ASSIGN_OR_RETURN(config.add_bos_token, optional_bool_field(json, "add_bos_token", kFile));
  COPPICE_ASSIGN_OR_RETURN(config.add_eos_token, optional_bool_field(json, "add_eos_token", kFile));
  COPPICE_ASSIGN_OR_RETURN(config.add_prefix_space, optional_bool_field(json, "add_prefix_space", kFile));
  COPPICE_ASSIGN_OR_RETURN(config.legacy, optional_bool_field(json, "legacy", kFile));
  const Json* length = find_member(json, "model_max_length");
  if (length != nullptr && !length->is_number()) {
    return invalid_field(kFile, "\"model_max_length\" must be a number");
  }
  // transformers writes 1e30 for "no limit".
  const double value = length == nullptr ? 0.0 : length->get<double>();
  config.model_max_length = value > 0.0 && value < 1e15 ? static_cast<std::int64_t>(value) : 0;
  return absl::OkStatus();
}

// Returns the file's object, or null when there is no such file.
absl::StatusOr<Json> read_optional(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return Json();
  }
  COPPICE_ASSIGN_OR_RETURN(const std::string content, base::read_file(path, kJsonBytesMax));
  return parse_json_object(content, path.filename().string());
}

absl::Status read_older_files(const std::filesystem::path& folder, TokenizerConfig& config) {
  COPPICE_ASSIGN_OR_RETURN(const Json roles, read_optional(folder / "special_tokens_map.json"));
  COPPICE_RETURN_IF_ERROR(read_roles(roles, "special_tokens_map.json", config));
  COPPICE_ASSIGN_OR_RETURN(const Json added, read_optional(folder / "added_tokens.json"));
  if (!added.is_object() || !config.added_tokens.empty()) {
    return absl::OkStatus();
  }
  const std::set<std::string> special = {config.bos_token, config.eos_token, config.unk_token, config.pad_token};
  for (const auto& [content, id] : added.items()) {
    AddedToken token;
    token.content = content;
    COPPICE_ASSIGN_OR_RETURN(token.id, token_id_value(id, "added_tokens.json"));
    token.special = special.contains(content) || std::count(config.additional_special_tokens.begin(),
                                                            config.additional_special_tokens.end(), content) > 0;
    token.normalized = !token.special;
    config.added_tokens.push_back(std::move(token));
  }
  std::sort(config.added_tokens.begin(), config.added_tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return absl::OkStatus();
}

absl::Status read_template_file(const std::filesystem::path& path, const std::string& name, TokenizerConfig& config) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return absl::OkStatus();
  }
  COPPICE_ASSIGN_OR_RETURN(std::string source, base::read_file(path, kTemplateBytesMax));
  set_template(name, std::move(source), config);
  return absl::OkStatus();
}

// chat_template.json (older), chat_template.jinja, additional_chat_templates/NAME.jinja.
absl::Status read_template_files(const std::filesystem::path& folder, TokenizerConfig& config) {
  COPPICE_ASSIGN_OR_RETURN(const Json older, read_optional(folder / "chat_template.json"));
  COPPICE_RETURN_IF_ERROR(read_templates(older, "chat_template.json", config));
  COPPICE_RETURN_IF_ERROR(read_template_file(folder / "chat_template.jinja", "default", config));
  std::error_code error;
  std::set<std::filesystem::path> files;
  for (std::filesystem::directory_iterator entry(folder / "additional_chat_templates", error), end;
       !error && entry != end && files.size() < kTemplatesMax; entry.increment(error)) {
    if (entry->path().extension() == kJinjaSuffix) {
      files.insert(entry->path());
    }
  }
  for (const std::filesystem::path& file : files) {
    COPPICE_RETURN_IF_ERROR(read_template_file(file, file.stem().string(), config));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AddedToken> added_token_from_json(const Json& json, TokenId id, std::string_view where) {
  AddedToken token;
  token.id = id;
  COPPICE_ASSIGN_OR_RETURN(token.content, token_content(json, where));
  COPPICE_ASSIGN_OR_RETURN(token.special, bool_field(json, "special", false, where));
  COPPICE_ASSIGN_OR_RETURN(token.single_word, bool_field(json, "single_word", false, where));
  COPPICE_ASSIGN_OR_RETURN(token.lstrip, bool_field(json, "lstrip", false, where));
  COPPICE_ASSIGN_OR_RETURN(token.rstrip, bool_field(json, "rstrip", false, where));
  COPPICE_ASSIGN_OR_RETURN(token.normalized, bool_field(json, "normalized", !token.special, where));
  return token;
}

absl::StatusOr<TokenizerConfig> tokenizer_config_from_json(std::string_view text) {
  std::size_t python_numbers = 0;
  COPPICE_ASSIGN_OR_RETURN(const Json json,
                           parse_json_object(base::without_python_numbers(text, python_numbers), kFile));
  TokenizerConfig config;
  COPPICE_RETURN_IF_ERROR(read_flags(json, config));
  COPPICE_RETURN_IF_ERROR(read_roles(json, kFile, config));
  COPPICE_RETURN_IF_ERROR(read_added_tokens(json, config));
  COPPICE_RETURN_IF_ERROR(read_templates(json, kFile, config));
  COPPICE_RETURN_IF_ERROR(read_control_tokens(json, config));
  return config;
}

absl::StatusOr<TokenizerConfig> load_tokenizer_config(const std::filesystem::path& model_folder) {
  TokenizerConfig config;
  std::error_code error;
  const std::filesystem::path path = model_folder / kFile;
  if (std::filesystem::exists(path, error)) {
    COPPICE_ASSIGN_OR_RETURN(const std::string content, base::read_file(path, kJsonBytesMax));
    COPPICE_ASSIGN_OR_RETURN(config, tokenizer_config_from_json(content));
  }
  COPPICE_RETURN_IF_ERROR(read_older_files(model_folder, config));
  COPPICE_RETURN_IF_ERROR(read_template_files(model_folder, config));
  return config;
}

std::optional<std::string_view> TokenizerConfig::chat_template(std::string_view name) const {
  for (const NamedTemplate& entry : chat_templates) {
    if (entry.name == name) {
      return entry.source;
    }
  }
  return std::nullopt;
}

}  // namespace coppice::text
