// A tokenizer made of the components of a tokenizer.json: added tokens, normalizer, pre-tokenizer, BPE, decoder.
// Source of the steps and their order: Hugging Face `tokenizers`, tokenizer/mod.rs, encode and decode.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/bpe_model.h"
#include "text/tokenizer/normalizer.h"
#include "text/tokenizer/piece_decoder.h"
#include "text/tokenizer/pre_tokenizer.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::text {

// The components of a BpeTokenizer.
struct BpeTokenizerParts {
  BpeDescription bpe;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  PieceDecoder decoder;
  std::vector<AddedToken> added_tokens;
  std::vector<TokenId> prefix;  // put before a text by the post-processor
  std::vector<TokenId> suffix;  // put after it
  SpecialTokens special;
};

// Thread: immutable, as every Tokenizer.
class BpeTokenizer final : public Tokenizer {
 public:
  // ERRORS: InvalidArgument when two tokens share an id, ids are sparse, or a component is not valid.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> create(BpeTokenizerParts parts);

  absl::StatusOr<std::vector<TokenId>> encode(std::string_view utf8, EncodeOptions options) const override;
  std::size_t encode_memory(std::string_view utf8) const override;
  std::int32_t vocab_size() const override { return static_cast<std::int32_t>(tokens_.size()); }
  std::string piece(TokenId id) const override;
  bool is_special(TokenId id) const override;
  std::optional<TokenId> token_to_id(std::string_view piece) const override;
  const SpecialTokens& special() const override { return special_; }
  std::string_view kind() const override { return "bpe"; }
  TokenText token_text(TokenId id, bool is_first) const override;
  const DecodeRules& decode_rules() const override { return rules_; }

 private:
  struct Token {
    std::string piece;
    std::string bytes;
    TokenForm form = TokenForm::kAbsent;
    bool is_special = false;
    bool is_added = false;
  };
  struct EncodeState;

  BpeTokenizer(BpeModel model, BpeTokenizerParts& parts);

  absl::Status fill_tokens(const BpeTokenizerParts& parts);
  absl::Status decode_pieces(const PieceDecoder& decoder);
  absl::Status add_matchers(const std::vector<AddedToken>& added_tokens);
  bool has_token(TokenId id) const;
  absl::Status encode_section(std::string_view section, bool at_start, EncodeState& state) const;
  absl::Status encode_normalized(std::string_view text, bool at_start, EncodeState& state) const;
  absl::Status encode_plain(std::string_view text, bool at_start, EncodeState& state) const;

  BpeModel model_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  AddedTokenMatcher raw_matcher_;         // for the text as written
  AddedTokenMatcher normalized_matcher_;  // for the normalised text
  std::vector<Token> tokens_;
  std::vector<std::string> first_bytes_;  // by id: bytes as a first token; empty if no token differs there
  TokenTable ids_;
  std::vector<TokenId> prefix_;
  std::vector<TokenId> suffix_;
  SpecialTokens special_;
  DecodeRules rules_;
};

}  // namespace coppice::text
