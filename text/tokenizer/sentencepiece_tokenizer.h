// A tokenizer over a `tokenizer.model`: the sentencepiece library encodes text; added tokens and roles follow
// transformers' LlamaTokenizer (not the "fast" one).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/charsmap.h"
#include "text/tokenizer/sentencepiece_flags.h"
#include "text/tokenizer/sentencepiece_model.h"
#include "text/tokenizer/token_tables.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::text {

// Thread: immutable, as every Tokenizer.
class SentencePieceTokenizer final : public Tokenizer {
 public:
  // `serialized`: the content of tokenizer.model.
  // ERRORS: InvalidArgument beginning with "tokenizer.model: ".
  static absl::StatusOr<std::unique_ptr<Tokenizer>> create(std::string_view serialized, const TokenizerConfig& config);

  absl::StatusOr<std::vector<TokenId>> encode(std::string_view utf8, EncodeOptions options) const override;
  std::size_t encode_memory(std::string_view utf8) const override;
  std::int32_t vocab_size() const override { return static_cast<std::int32_t>(tokens_.size()); }
  std::string piece(TokenId id) const override;
  bool is_special(TokenId id) const override;
  std::optional<TokenId> token_to_id(std::string_view piece) const override;
  const SpecialTokens& special() const override { return special_; }
  std::string_view kind() const override { return "sentencepiece"; }
  TokenText token_text(TokenId id, bool is_first) const override;
  const DecodeRules& decode_rules() const override { return rules_; }

 private:
  struct Token {
    std::string piece;
    std::string bytes;
    TokenForm form = TokenForm::kAbsent;
    bool is_special = false;
    bool is_cut_out = false;         // an added token: the text after it is encoded separately
    bool drops_space_first = false;  // begins with a space that is dropped at the start of a text
  };

  SentencePieceTokenizer() = default;

  absl::Status load_models(std::string_view serialized, const TokenizerConfig& config);
  absl::Status fill_pieces();
  absl::Status add_tokens(const TokenizerConfig& config);
  absl::Status set_roles(const TokenizerConfig& config);
  void add_role(const std::string& content);
  bool has_token(TokenId id) const;
  absl::Status encode_text(std::string_view text, bool at_start, std::span<const TextRange> plain,
                           std::vector<TokenId>& ids) const;
  // Where the text must be cut for the library not to recognise a piece; ascending.
  std::vector<std::size_t> cuts_of(std::string_view text, std::span<const TextRange> plain) const;
  absl::Status encode_run(const SentencePieceModel& model, std::string_view text, std::vector<TokenId>& ids) const;
  static absl::Status encode_whole(const SentencePieceModel& model, std::string_view text, std::vector<TokenId>& ids);

  std::unique_ptr<SentencePieceModel> model_;
  std::unique_ptr<SentencePieceModel> model_without_prefix_;
  SentencePieceFlags flags_;
  Charsmap charsmap_;
  bool cuts_at_spaces_ = false;  // a text cut before a word gives the same tokens (load_models())
  bool legacy_ = true;           // each text between added tokens gets the dummy prefix, not only the first
  AddedTokenMatcher matcher_;
  AddedTokenMatcher hidden_matcher_;  // special tokens that the library itself would recognise in a text
  std::vector<Token> tokens_;
  TokenTable ids_;
  SpecialTokens special_;
  DecodeRules rules_;
};

}  // namespace coppice::text
