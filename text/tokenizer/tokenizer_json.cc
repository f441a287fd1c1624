// Reads the members of tokenizer.json, one function each.
#include "text/tokenizer/tokenizer_json.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "text/tokenizer/added_token_json.h"
#include "text/tokenizer/bpe_tokenizer.h"
#include "text/tokenizer/json_access.h"
#include "text/tokenizer/special_tokens.h"

namespace coppice::text {
namespace {

constexpr std::size_t kTemplateTokensMax =
    16;  // special tokens in a post-processor's template; bounds what each prompt gets

absl::Status refuse_unknown_members(const Json& object, const std::set<std::string>& known, std::string_view where) {
  for (const auto& [key, value] : object.items()) {
    if (!known.contains(key)) {
      return invalid_field(where, fmt::format("unknown member \"{}\"", key));
    }
  }
  return absl::OkStatus();
}

absl::Status read_vocabulary(const Json& json, std::string_view where, BpeDescription& bpe) {
  if (!json.is_object() || json.empty()) {
    return invalid_field(where, "must be an object of tokens");
  }
  bpe.vocabulary.reserve(json.size());
  for (const auto& [piece, id] : json.items()) {
    COPPICE_ASSIGN_OR_RETURN(const TokenId token_id, token_id_value(id, fmt::format("{}[\"{}\"]", where, piece)));
    bpe.vocabulary.emplace_back(piece, token_id);
  }
  return absl::OkStatus();
}

// Splits "a b" into (a, b).
// ERRORS: not exactly one space.
bool split_merge(std::string_view line, BpeDescription& bpe) {
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    return false;
  }
  bpe.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  return true;
}

absl::Status read_merges(const Json& json, BpeDescription& bpe) {
  if (!json.is_array() || json.size() > static_cast<std::size_t>(kVocabularyMax)) {
    return invalid_field("model.merges", "must be an array");
  }
  bpe.merges.reserve(json.size());
  for (std::size_t index = 0; index < json.size(); ++index) {
    const Json& merge = json[index];
    bool ok = false;
    if (merge.is_string()) {
      ok = split_merge(merge.get_ref<const std::string&>(), bpe);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      bpe.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      ok = true;
    }
    if (!ok) {
      return invalid_field(fmt::format("model.merges[{}]", index), "must be \"a b\" or [\"a\", \"b\"]");
    }
  }
  return absl::OkStatus();
}

// Refuses settings that change the algorithm and that no served model uses.
absl::Status refuse_model_options(const Json& model) {
  const Json* dropout = find_member(model, "dropout");
  if (dropout != nullptr && !(dropout->is_number() && dropout->get<double>() == 0.0)) {
    return invalid_field("model.dropout", "is for training and not supported");
  }
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    COPPICE_ASSIGN_OR_RETURN(const std::string value, string_field(model, key, "", "model"));
    if (!value.empty()) {
      return invalid_field(fmt::format("model.{}", key), "is not supported");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<BpeDescription> read_model(const Json* model) {
  if (model == nullptr || !model->is_object()) {
    return invalid_field("model", "is missing");
  }
  COPPICE_ASSIGN_OR_RETURN(const std::string type, string_field(*model, "type", "BPE", "model"));
  if (type != "BPE") {
    return invalid_field("model", fmt::format("type \"{}\" is not supported (only BPE is)", type));
  }
  COPPICE_RETURN_IF_ERROR(
      refuse_unknown_members(*model,
                             {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                              "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"},
                             "model"));
  COPPICE_RETURN_IF_ERROR(refuse_model_options(*model));
  BpeDescription bpe;
  const Json* vocabulary = find_member(*model, "vocab");
  const Json* merges = find_member(*model, "merges");
  if (vocabulary == nullptr || merges == nullptr) {
    return invalid_field("model", "\"vocab\" or \"merges\" is missing");
  }
  COPPICE_RETURN_IF_ERROR(read_vocabulary(*vocabulary, "model.vocab", bpe));
  COPPICE_RETURN_IF_ERROR(read_merges(*merges, bpe));
  if (find_member(*model, "unk_token") != nullptr) {
    COPPICE_ASSIGN_OR_RETURN(bpe.unk_token, string_field(*model, "unk_token", "", "model"));
  }
  COPPICE_ASSIGN_OR_RETURN(bpe.fuse_unk, bool_field(*model, "fuse_unk", false, "model"));
  COPPICE_ASSIGN_OR_RETURN(bpe.byte_fallback, bool_field(*model, "byte_fallback", false, "model"));
  COPPICE_ASSIGN_OR_RETURN(bpe.ignore_merges, bool_field(*model, "ignore_merges", false, "model"));
  return bpe;
}

absl::StatusOr<std::vector<AddedToken>> read_added_tokens(const Json& json) {
  std::vector<AddedToken> tokens;
  const Json* list = find_member(json, "added_tokens");
  if (list == nullptr) {
    return tokens;
  }
  if (!list->is_array()) {
    return invalid_field("added_tokens", "must be an array");
  }
  for (std::size_t index = 0; index < list->size(); ++index) {
    const std::string where = fmt::format("added_tokens[{}]", index);
    const Json* id = find_member((*list)[index], "id");
    if (id == nullptr) {
      return invalid_field(where, "\"id\" is missing");
    }
    COPPICE_ASSIGN_OR_RETURN(const TokenId token_id, token_id_value(*id, where + ".id"));
    COPPICE_ASSIGN_OR_RETURN(AddedToken token, added_token_from_json((*list)[index], token_id, where));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

// Returns the ids that a template names for one of its special tokens.
absl::Status append_template_token(const Json& special, const Json& definitions, std::vector<TokenId>& ids,
                                   const std::string& where) {
  COPPICE_ASSIGN_OR_RETURN(const std::string name, string_field(special, "id", "", where));
  const Json* definition = find_member(definitions, name);
  const Json* list = definition == nullptr ? nullptr : find_member(*definition, "ids");
  if (list == nullptr || !list->is_array()) {
    return invalid_field(where, fmt::format("\"{}\" is not among its special_tokens", name));
  }
  for (const Json& id : *list) {
    COPPICE_ASSIGN_OR_RETURN(const TokenId token_id, token_id_value(id, where));
    ids.push_back(token_id);
    if (ids.size() > kTemplateTokensMax) {
      return invalid_field(where, "too many special tokens");
    }
  }
  return absl::OkStatus();
}

absl::Status read_template(const Json& json, const std::string& where, BpeTokenizerParts& parts) {
  COPPICE_ASSIGN_OR_RETURN(const Json* single, array_field(json, "single", where));
  const Json* definitions = find_member(json, "special_tokens");
  const Json empty = Json::object();
  bool text_seen = false;
  for (const Json& item : *single) {
    if (const Json* special = find_member(item, "SpecialToken")) {
      COPPICE_RETURN_IF_ERROR(append_template_token(*special, definitions == nullptr ? empty : *definitions,
                                                    text_seen ? parts.suffix : parts.prefix, where));
    } else if (find_member(item, "Sequence") != nullptr && !text_seen) {
      text_seen = true;
    } else {
      return invalid_field(where, "\"single\" must be special tokens around one sequence");
    }
  }
  return text_seen ? absl::OkStatus() : invalid_field(where, "\"single\" has no sequence");
}

absl::Status read_post_processor(const Json* json, const std::string& where, std::size_t depth,
                                 BpeTokenizerParts& parts) {
  if (json == nullptr) {
    return absl::OkStatus();
  }
  COPPICE_ASSIGN_OR_RETURN(const std::string type, type_field(*json, where));
  if (type == "ByteLevel") {  // about offsets only
    return absl::OkStatus();
  }
  if (type == "TemplateProcessing" && parts.prefix.empty() && parts.suffix.empty()) {
    return read_template(*json, where, parts);
  }
  if (type == "Sequence" && depth < 4) {
    COPPICE_ASSIGN_OR_RETURN(const Json* list, array_field(*json, "processors", where));
    for (std::size_t index = 0; index < list->size(); ++index) {
      COPPICE_RETURN_IF_ERROR(
          read_post_processor(&(*list)[index], fmt::format("{}.processors[{}]", where, index), depth + 1, parts));
    }
    return absl::OkStatus();
  }
  return invalid_field(where, fmt::format("post-processor \"{}\" is not supported here", type));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> read_tokenizer(const Json& json, const TokenizerConfig& config) {
  COPPICE_RETURN_IF_ERROR(refuse_unknown_members(json,
                                                 {"version", "truncation", "padding", "added_tokens", "normalizer",
                                                  "pre_tokenizer", "post_processor", "decoder", "model"},
                                                 "top level"));
  BpeTokenizerParts parts;
  COPPICE_ASSIGN_OR_RETURN(parts.bpe, read_model(find_member(json, "model")));
  COPPICE_ASSIGN_OR_RETURN(parts.added_tokens, read_added_tokens(json));
  COPPICE_ASSIGN_OR_RETURN(parts.normalizer, Normalizer::from_json(find_member(json, "normalizer"), "normalizer"));
  COPPICE_ASSIGN_OR_RETURN(parts.pre_tokenizer,
                           PreTokenizer::from_json(find_member(json, "pre_tokenizer"), "pre_tokenizer"));
  COPPICE_ASSIGN_OR_RETURN(parts.decoder, PieceDecoder::from_json(find_member(json, "decoder"), "decoder"));
  COPPICE_RETURN_IF_ERROR(read_post_processor(find_member(json, "post_processor"), "post_processor", 0, parts));
  COPPICE_RETURN_IF_ERROR(apply_config(config, parts));
  return BpeTokenizer::create(std::move(parts));
}

// Returns the components that transformers builds for a tokenizer class without a tokenizer.json.
absl::StatusOr<Json> components_of_class(const TokenizerConfig& config) {
  const std::string_view name = config.tokenizer_class;
  if (name == "GPT2Tokenizer" || name == "GPT2TokenizerFast") {
    Json json = Json::parse(R"({"normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "use_regex": true},
                                "decoder": {"type": "ByteLevel"}})");
    json["pre_tokenizer"]["add_prefix_space"] = config.add_prefix_space.value_or(false);
    return json;
  }
  if (name == "Qwen2Tokenizer" || name == "Qwen2TokenizerFast") {
    return Json::parse(R"json({"normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "behavior": "Isolated", "pattern": {"Regex":
          "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+)json"
                       R"json(|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
        {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
        "decoder": {"type": "ByteLevel"}})json");
  }
  return invalid_field("tokenizer_config.json",
                       fmt::format("vocab.json + merges.txt need tokenizer_class GPT2Tokenizer or "
                                   "Qwen2Tokenizer, not \"{}\"",
                                   name));
}

absl::Status read_merges_file(std::string_view merges_txt, BpeDescription& bpe) {
  std::size_t line_number = 0;
  while (!merges_txt.empty()) {
    ++line_number;
    const std::size_t end = std::min(merges_txt.find('\n'), merges_txt.size());
    std::string_view line = merges_txt.substr(0, end);
    merges_txt.remove_prefix(std::min(end + 1, merges_txt.size()));
    if (line.ends_with('\r')) {
      line.remove_suffix(1);
    }
    if (line.starts_with("#version") || (line.empty() && merges_txt.empty())) {
      continue;
    }
    if (!split_merge(line, bpe)) {
      return invalid_field("merges.txt", fmt::format("line {} is not \"a b\"", line_number));
    }
  }
  return absl::OkStatus();
}

absl::Status with_prefix(const absl::Status& status, std::string_view prefix) {
  return absl::Status(status.code(), fmt::format("{}{}", prefix, std::string(status.message())));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer_from_json(std::string_view json, const TokenizerConfig& config) {
  COPPICE_ASSIGN_OR_RETURN(const Json parsed, parse_json_object(json, "tokenizer.json"));
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = read_tokenizer(parsed, config);
  if (!tokenizer.ok()) {
    return with_prefix(tokenizer.status(), "tokenizer.json: ");
  }
  return tokenizer;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer_from_vocab_and_merges(std::string_view vocab_json,
                                                                           std::string_view merges_txt,
                                                                           const TokenizerConfig& config) {
  COPPICE_ASSIGN_OR_RETURN(const Json vocabulary, parse_json_object(vocab_json, "vocab.json"));
  COPPICE_ASSIGN_OR_RETURN(const Json components, components_of_class(config));
  BpeTokenizerParts parts;
  COPPICE_RETURN_IF_ERROR(read_vocabulary(vocabulary, "vocab.json", parts.bpe));
  COPPICE_RETURN_IF_ERROR(read_merges_file(merges_txt, parts.bpe));
  COPPICE_ASSIGN_OR_RETURN(parts.normalizer,
                           Normalizer::from_json(find_member(components, "normalizer"), "normalizer"));
  COPPICE_ASSIGN_OR_RETURN(parts.pre_tokenizer,
                           PreTokenizer::from_json(find_member(components, "pre_tokenizer"), "pre_tokenizer"));
  COPPICE_ASSIGN_OR_RETURN(parts.decoder, PieceDecoder::from_json(find_member(components, "decoder"), "decoder"));
  COPPICE_RETURN_IF_ERROR(apply_config(config, parts));
  return BpeTokenizer::create(std::move(parts));
}

}  // namespace coppice::text
