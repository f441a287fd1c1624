// Chooses the tokenizer of a folder, and decodes for all kinds.
#include "text/tokenizer/tokenizer.h"

#include <system_error>
#include <utility>

#include "base/file.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "text/tokenizer/detokenizer.h"
#include "text/tokenizer/json_access.h"
#include "text/tokenizer/sentencepiece_tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"
#include "text/tokenizer/tokenizer_json.h"

namespace coppice::text {

Tokenizer::~Tokenizer() = default;

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  Detokenizer detokenizer(*this, {skip_special});
  std::string text;
  for (const TokenId id : ids) {
    text += detokenizer.push(id);
  }
  return text + detokenizer.finish();
}

std::string Tokenizer::token_bytes(TokenId id) const {
  return std::string(token_text(id, false).bytes);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> load_tokenizer(const std::filesystem::path& model_folder) {
  COPPICE_ASSIGN_OR_RETURN(const TokenizerConfig config, load_tokenizer_config(model_folder));
  return load_tokenizer(model_folder, config);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> load_tokenizer(const std::filesystem::path& model_folder,
                                                          const TokenizerConfig& config) {
  const auto has_file = [&model_folder](std::string_view name) {
    std::error_code error;
    return std::filesystem::exists(model_folder / name, error);
  };
  if (has_file("tokenizer.json")) {
    COPPICE_ASSIGN_OR_RETURN(const std::string json, base::read_file(model_folder / "tokenizer.json", kJsonBytesMax));
    return tokenizer_from_json(json, config);
  }
  if (has_file("tokenizer.model")) {
    COPPICE_ASSIGN_OR_RETURN(const std::string serialized,
                             base::read_file(model_folder / "tokenizer.model", kJsonBytesMax));
    return SentencePieceTokenizer::create(serialized, config);
  }
  if (has_file("vocab.json") && has_file("merges.txt")) {
    COPPICE_ASSIGN_OR_RETURN(const std::string vocab, base::read_file(model_folder / "vocab.json", kJsonBytesMax));
    COPPICE_ASSIGN_OR_RETURN(const std::string merges, base::read_file(model_folder / "merges.txt", kJsonBytesMax));
    return tokenizer_from_vocab_and_merges(vocab, merges, config);
  }
  return absl::NotFoundError(fmt::format(
      "{}: no tokenizer (tokenizer.json, tokenizer.model, or vocab.json with merges.txt)", model_folder.string()));
}

}  // namespace coppice::text
