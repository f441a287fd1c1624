// Added tokens, roles and the tokens around a text, by the rules of transformers: tokenization_utils_fast.py
// (__init__), models/llama/tokenization_llama_fast.py.
#include "text/tokenizer/special_tokens.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "text/tokenizer/json_access.h"

namespace coppice::text {
namespace {

using IdByPiece = std::unordered_map<std::string, TokenId>;

IdByPiece index_pieces(const BpeTokenizerParts& parts) {
  IdByPiece ids(parts.bpe.vocabulary.begin(), parts.bpe.vocabulary.end());
  for (const AddedToken& token : parts.added_tokens) {
    ids.emplace(token.content, token.id);
  }
  return ids;
}

TokenId find_id(const IdByPiece& ids, const std::string& piece) {
  const auto found = ids.find(piece);
  return found == ids.end() ? -1 : found->second;
}

// Merges the config's added tokens: appends new ones and sets the flags of known ones, except `normalized` of a special
// token, which tokenizer.json has already used to choose where the token is looked for.
absl::Status merge_added_tokens(const TokenizerConfig& config, BpeTokenizerParts& parts) {
  std::unordered_map<TokenId, std::size_t> known;
  for (std::size_t index = 0; index < parts.added_tokens.size(); ++index) {
    known.emplace(parts.added_tokens[index].id, index);
  }
  for (const AddedToken& token : config.added_tokens) {
    const auto found = known.find(token.id);
    if (found == known.end()) {
      parts.added_tokens.push_back(token);
      continue;
    }
    AddedToken& old = parts.added_tokens[found->second];
    if (old.content != token.content) {
      return invalid_field("tokenizer_config.json", fmt::format("token {} is \"{}\" there and \"{}\" in tokenizer.json",
                                                                token.id, token.content, old.content));
    }
    const bool normalized = old.special && token.special ? old.normalized : token.normalized;
    old = token;
    old.normalized = normalized;
  }
  return absl::OkStatus();
}

// Marks a token with a role as special, even if no list of added tokens has it.
void add_role_token(const std::string& piece, const IdByPiece& ids, BpeTokenizerParts& parts) {
  const TokenId id = find_id(ids, piece);
  const bool is_added = std::any_of(parts.added_tokens.begin(), parts.added_tokens.end(),
                                    [id](const AddedToken& token) { return token.id == id; });
  if (id < 0 || is_added) {
    return;
  }
  AddedToken token;
  token.content = piece;
  token.id = id;
  token.special = true;
  token.normalized = false;
  parts.added_tokens.push_back(std::move(token));
}

// Lets the config's flag replace what the post-processor adds.
absl::Status apply_flag(std::optional<bool> flag, TokenId id, std::string_view name, std::vector<TokenId>& around) {
  if (!flag.has_value()) {
    return absl::OkStatus();
  }
  around.clear();
  if (!*flag) {
    return absl::OkStatus();
  }
  if (id < 0) {
    return invalid_field("tokenizer_config.json",
                         fmt::format("add_{0}_token is true, but {0}_token names no token", name));
  }
  around.push_back(id);
  return absl::OkStatus();
}

}  // namespace

bool class_adds_bos(std::string_view tokenizer_class) {
  if (tokenizer_class.ends_with("Fast")) {
    tokenizer_class.remove_suffix(4);
  }
  return tokenizer_class == "LlamaTokenizer" || tokenizer_class == "CodeLlamaTokenizer" ||
         tokenizer_class == "GemmaTokenizer" || tokenizer_class == "CohereTokenizer";
}

absl::Status apply_config(const TokenizerConfig& config, BpeTokenizerParts& parts) {
  COPPICE_RETURN_IF_ERROR(merge_added_tokens(config, parts));
  const IdByPiece ids = index_pieces(parts);
  for (const std::string* piece : {&config.bos_token, &config.eos_token, &config.unk_token, &config.pad_token}) {
    add_role_token(*piece, ids, parts);
  }
  for (const std::string& piece : config.additional_special_tokens) {
    add_role_token(piece, ids, parts);
  }
  SpecialTokens& special = parts.special;
  special.bos = find_id(ids, config.bos_token);
  special.eos = find_id(ids, config.eos_token);
  special.pad = find_id(ids, config.pad_token);
  special.unk = find_id(ids, config.unk_token.empty() ? parts.bpe.unk_token.value_or("") : config.unk_token);
  const bool is_llama = class_adds_bos(config.tokenizer_class);
  const std::optional<bool> add_bos = is_llama ? config.add_bos_token.value_or(true) : config.add_bos_token;
  const std::optional<bool> add_eos = is_llama ? config.add_eos_token.value_or(false) : config.add_eos_token;
  COPPICE_RETURN_IF_ERROR(apply_flag(add_bos, special.bos, "bos", parts.prefix));
  COPPICE_RETURN_IF_ERROR(apply_flag(add_eos, special.eos, "eos", parts.suffix));
  // Without a config only the post-processor says what is added.
  if (special.bos < 0 && parts.prefix.size() == 1) {
    special.bos = parts.prefix[0];
  }
  if (special.eos < 0 && parts.suffix.size() == 1) {
    special.eos = parts.suffix[0];
  }
  special.add_bos = !parts.prefix.empty();
  special.add_eos = !parts.suffix.empty();
  return absl::OkStatus();
}

}  // namespace coppice::text
