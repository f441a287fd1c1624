// The keys become what the loaders of Hugging Face's files read: a tokenizer.json, or a sentencepiece model.
#include "server/model/gguf_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "text/tokenizer/sentencepiece_tokenizer.h"
#include "text/tokenizer/tokenizer_json.h"

namespace coppice::server {
namespace {

using nlohmann::json;

// Types of tokens, in files; sentencepiece has the same numbers.
constexpr std::int64_t kNormal = 1;
constexpr std::int64_t kControl = 3;
constexpr std::int64_t kUserDefined = 4;
constexpr std::int64_t kByte = 6;

// Ways to cut text before merging, by the names that GGUF has for them ("tokenizer.ggml.pre"): what the
// tokenizer.json of such models says. Regular expressions are the models' own data.
struct Cut {
  std::string_view name;
  std::string_view expression;     // "": GPT-2's own
  bool has_single_digits = false;  // each a piece of its own, before GPT-2's expression
  bool is_composed = false;        // Unicode's form C first
  bool ignores_merges = false;     // a word that is a token needs none
};
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::array kCuts = {
    Cut{.name = "gpt-2", .expression = ""},
    Cut{.name = "default", .expression = ""},
    Cut{.name = "smollm", .expression = "", .has_single_digits = true},
    Cut{.name = "llama-bpe", .expression = kLlama3, .ignores_merges = true},
    Cut{.name = "llama3", .expression = kLlama3, .ignores_merges = true},
    Cut{.name = "llama-v3", .expression = kLlama3, .ignores_merges = true},
    Cut{.name = "smaug-bpe", .expression = kLlama3},
    Cut{.name = "qwen2", .expression = kQwen2, .is_composed = true},
    Cut{.name = "deepseek-r1-qwen", .expression = kQwen2, .is_composed = true},
    Cut{.name = "tekken", .expression = kTekken, .ignores_merges = true},
};

// The keys of one file, with their types and lengths checked.
struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<std::int64_t> types;  // one a token
  std::vector<double> scores;       // one a token, or none
  std::vector<std::string> merges;
};

std::string key_of(std::string_view name) {
  return fmt::format("tokenizer.ggml.{}", name);
}

template <typename T>
absl::StatusOr<T> value_or(const models::GgufMetadata& metadata, std::string_view name, T otherwise) {
  COPPICE_ASSIGN_OR_RETURN(std::optional<T> value, models::gguf_value<T>(metadata, key_of(name)));
  return value ? *std::move(value) : std::move(otherwise);
}

absl::StatusOr<Vocabulary> read_vocabulary(const models::GgufMetadata& metadata) {
  Vocabulary vocabulary;
  COPPICE_ASSIGN_OR_RETURN(vocabulary.tokens, value_or(metadata, "tokens", std::vector<std::string>()));
  const std::size_t count = vocabulary.tokens.size();
  if (count == 0) {
    return absl::InvalidArgumentError(fmt::format("key {} is missing or empty", key_of("tokens")));
  }
  COPPICE_ASSIGN_OR_RETURN(vocabulary.types,
                           value_or(metadata, "token_type", std::vector<std::int64_t>(count, kNormal)));
  COPPICE_ASSIGN_OR_RETURN(vocabulary.scores, value_or(metadata, "scores", std::vector<double>()));
  COPPICE_ASSIGN_OR_RETURN(vocabulary.merges, value_or(metadata, "merges", std::vector<std::string>()));
  if (vocabulary.types.size() != count || (!vocabulary.scores.empty() && vocabulary.scores.size() != count)) {
    return absl::InvalidArgumentError(
        fmt::format("{} tokens, {} types and {} scores", count, vocabulary.types.size(), vocabulary.scores.size()));
  }
  return vocabulary;
}

// The spelling of the token that `name` has the id of; "": there is none.
absl::StatusOr<std::string> role(const models::GgufMetadata& metadata, std::string_view name,
                                 const Vocabulary& vocabulary) {
  COPPICE_ASSIGN_OR_RETURN(const std::int64_t id, value_or(metadata, name, std::int64_t{-1}));
  if (id >= static_cast<std::int64_t>(vocabulary.tokens.size())) {
    return absl::InvalidArgumentError(
        fmt::format("key {}: {}, where there are {} tokens", key_of(name), id, vocabulary.tokens.size()));
  }
  return id < 0 ? std::string() : vocabulary.tokens[static_cast<std::size_t>(id)];
}

absl::Status read_templates(const models::GgufMetadata& metadata, text::TokenizerConfig& config) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  for (const auto& [key, value] : metadata) {
    if (!key.starts_with(kKey) || (key.size() > kKey.size() && key[kKey.size()] != '.')) {
      continue;
    }
    const auto* const source = std::get_if<std::string>(&value);
    if (source == nullptr) {
      return absl::InvalidArgumentError(fmt::format("key {}: expected a text", key));
    }
    config.chat_templates.push_back({key == kKey ? "default" : key.substr(kKey.size() + 1), *source});
  }
  return absl::OkStatus();
}

absl::StatusOr<text::TokenizerConfig> read_config(const models::GgufMetadata& metadata, const Vocabulary& vocabulary,
                                                  bool begins_by_default) {
  text::TokenizerConfig config;
  COPPICE_ASSIGN_OR_RETURN(config.bos_token, role(metadata, "bos_token_id", vocabulary));
  COPPICE_ASSIGN_OR_RETURN(config.eos_token, role(metadata, "eos_token_id", vocabulary));
  COPPICE_ASSIGN_OR_RETURN(config.unk_token, role(metadata, "unknown_token_id", vocabulary));
  COPPICE_ASSIGN_OR_RETURN(config.pad_token, role(metadata, "padding_token_id", vocabulary));
  COPPICE_ASSIGN_OR_RETURN(const bool begins, value_or(metadata, "add_bos_token", begins_by_default));
  COPPICE_ASSIGN_OR_RETURN(const bool ends, value_or(metadata, "add_eos_token", false));
  config.add_bos_token = begins && !config.bos_token.empty();
  config.add_eos_token = ends && !config.eos_token.empty();
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.types[id] == kControl || vocabulary.types[id] == kUserDefined) {
      config.added_tokens.push_back({.content = vocabulary.tokens[id],
                                     .id = static_cast<TokenId>(id),
                                     .special = vocabulary.types[id] == kControl,
                                     .normalized = false});
    }
  }
  COPPICE_RETURN_IF_ERROR(read_templates(metadata, config));
  return config;
}

json byte_level(bool uses_expression) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", uses_expression}};
}

json pre_tokenizer(const Cut& cut) {
  json steps = json::array();
  if (cut.has_single_digits) {
    steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  }
  if (!cut.expression.empty()) {
    steps.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", cut.expression}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  steps.push_back(byte_level(cut.expression.empty()));
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

absl::StatusOr<const Cut*> find_cut(const models::GgufMetadata& metadata) {
  COPPICE_ASSIGN_OR_RETURN(const std::string name, value_or(metadata, "pre", std::string("default")));
  const auto* const found =
      std::find_if(kCuts.begin(), kCuts.end(), [&name](const Cut& cut) { return cut.name == name; });
  if (found == kCuts.end()) {
    return absl::UnimplementedError(fmt::format("key {}: \"{}\" is not supported", key_of("pre"), name));
  }
  return found;
}

absl::StatusOr<ModelText> byte_level_text(const models::GgufMetadata& metadata, const Vocabulary& vocabulary) {
  COPPICE_ASSIGN_OR_RETURN(const Cut* const cut, find_cut(metadata));
  ModelText text;
  COPPICE_ASSIGN_OR_RETURN(text.config, read_config(metadata, vocabulary, /*begins_by_default=*/cut->ignores_merges));
  json words = json::object();
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    words[vocabulary.tokens[id]] = id;
  }
  if (words.size() != vocabulary.tokens.size()) {
    return absl::InvalidArgumentError(fmt::format("key {}: a token comes twice", key_of("tokens")));
  }
  const json file = {{"version", "1.0"},
                     {"normalizer", cut->is_composed ? json{{"type", "NFC"}} : json()},
                     {"pre_tokenizer", pre_tokenizer(*cut)},
                     {"post_processor", json()},
                     {"decoder", byte_level(true)},
                     {"added_tokens", json::array()},
                     {"model",
                      {{"type", "BPE"},
                       {"vocab", std::move(words)},
                       {"merges", vocabulary.merges},
                       {"ignore_merges", cut->ignores_merges}}}};
  COPPICE_ASSIGN_OR_RETURN(text.tokenizer, text::tokenizer_from_json(
                                               file.dump(-1, ' ', false, json::error_handler_t::replace), text.config));
  return text;
}

// The wire format of protocol buffers, as far as sentencepiece_model.proto needs it.
class Message {
 public:
  void add_number(std::uint32_t field, std::uint64_t value) {
    add_varint(field << 3U);
    add_varint(value);
  }
  void add_float(std::uint32_t field, float value) {
    constexpr std::uint32_t kFourBytes = 5;  // the wire type
    add_varint(field << 3U | kFourBytes);
    bytes_.append(sizeof value, '\0');
    std::memcpy(bytes_.data() + bytes_.size() - sizeof value, &value, sizeof value);
  }
  void add_bytes(std::uint32_t field, std::string_view value) {
    constexpr std::uint32_t kBytes = 2;  // the wire type
    add_varint(field << 3U | kBytes);
    add_varint(value.size());
    bytes_ += value;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void add_varint(std::uint64_t value) {
    for (; value >= 0x80U; value >>= 7U) {
      bytes_ += static_cast<char>(value | 0x80U);
    }
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

absl::StatusOr<ModelText> sentencepiece_text(const models::GgufMetadata& metadata, const Vocabulary& vocabulary) {
  ModelText text;
  COPPICE_ASSIGN_OR_RETURN(text.config, read_config(metadata, vocabulary, /*begins_by_default=*/true));
  text.config.tokenizer_class = "LlamaTokenizer";
  Message model;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.types[id] < kNormal || vocabulary.types[id] > kByte) {
      return absl::InvalidArgumentError(
          fmt::format("key {}: {} is no type of a token", key_of("token_type"), vocabulary.types[id]));
    }
    Message piece;
    piece.add_bytes(1, vocabulary.tokens[id]);
    piece.add_float(2, vocabulary.scores.empty() ? 0.0F : static_cast<float>(vocabulary.scores[id]));
    piece.add_number(3, static_cast<std::uint64_t>(vocabulary.types[id]));
    model.add_bytes(1, piece.bytes());
  }
  Message trainer;
  // Unknown characters become bytes where there is a token for each.
  const auto bytes = std::count(vocabulary.types.begin(), vocabulary.types.end(), kByte);
  trainer.add_number(3, 2);  // BPE
  trainer.add_number(35, bytes == 256 ? 1 : 0);
  for (const auto& [field, name] : {std::pair(40U, "unknown_token_id"), std::pair(41U, "bos_token_id"),
                                    std::pair(42U, "eos_token_id"), std::pair(43U, "padding_token_id")}) {
    COPPICE_ASSIGN_OR_RETURN(const std::int64_t id, value_or(metadata, name, std::int64_t{-1}));
    trainer.add_number(field, static_cast<std::uint64_t>(id));
  }
  Message normalizer;
  COPPICE_ASSIGN_OR_RETURN(const bool has_prefix, value_or(metadata, "add_space_prefix", true));
  COPPICE_ASSIGN_OR_RETURN(const bool drops_spaces, value_or(metadata, "remove_extra_whitespaces", false));
  normalizer.add_bytes(1, "identity");
  normalizer.add_number(3, has_prefix ? 1 : 0);
  normalizer.add_number(4, drops_spaces ? 1 : 0);
  model.add_bytes(2, trainer.bytes());
  model.add_bytes(3, normalizer.bytes());
  COPPICE_ASSIGN_OR_RETURN(text.tokenizer, text::SentencePieceTokenizer::create(model.bytes(), text.config));
  return text;
}

}  // namespace

absl::StatusOr<ModelText> gguf_text(const models::GgufMetadata& metadata) {
  COPPICE_ASSIGN_OR_RETURN(const std::string kind, value_or(metadata, "model", std::string()));
  if (kind != "gpt2" && kind != "llama") {
    return absl::UnimplementedError(
        fmt::format("key {}: \"{}\" is not supported; supported: llama, gpt2", key_of("model"), kind));
  }
  COPPICE_ASSIGN_OR_RETURN(const Vocabulary vocabulary, read_vocabulary(metadata));
  return kind == "gpt2" ? byte_level_text(metadata, vocabulary) : sentencepiece_text(metadata, vocabulary);
}

}  // namespace coppice::server
