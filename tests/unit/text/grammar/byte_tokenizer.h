// A tokenizer for grammar tests: one token for each byte, some tokens of several bytes, a special token with a text and
// the end tokens.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace coppice::text {

class ByteTokenizer : public Tokenizer {
 public:
  static constexpr TokenId kByteCount = 256;  // ids 0 to 255 are the bytes

  explicit ByteTokenizer(std::vector<std::string> longer = {}) {
    for (TokenId byte = 0; byte < kByteCount; ++byte) {
      texts_.emplace_back(1, static_cast<char>(byte));
    }
    texts_.insert(texts_.end(), longer.begin(), longer.end());
    first_special_ = static_cast<TokenId>(texts_.size());
    texts_.insert(texts_.end(), {"abc", "</s>", "<|end|>"});
  }

  TokenId special_text_token() const { return first_special_; }
  std::vector<TokenId> end_tokens() const { return {first_special_ + 1, first_special_ + 2}; }

  absl::StatusOr<std::vector<TokenId>> encode(std::string_view utf8, EncodeOptions /*options*/) const override {
    std::vector<TokenId> ids;
    for (const char c : utf8) {
      ids.push_back(static_cast<unsigned char>(c));
    }
    return ids;
  }
  std::size_t encode_memory(std::string_view utf8) const override { return utf8.size() * sizeof(TokenId); }
  std::int32_t vocab_size() const override { return static_cast<std::int32_t>(texts_.size()); }
  std::string piece(TokenId id) const override { return texts_[static_cast<std::size_t>(id)]; }
  bool is_special(TokenId id) const override { return id >= first_special_; }
  std::optional<TokenId> token_to_id(std::string_view /*piece*/) const override { return std::nullopt; }
  const SpecialTokens& special() const override { return special_; }
  std::string_view kind() const override { return "bytes"; }
  TokenText token_text(TokenId id, bool /*is_first*/) const override {
    TokenText text;
    text.form = TokenForm::kText;
    text.is_special = is_special(id);
    text.bytes = texts_[static_cast<std::size_t>(id)];
    return text;
  }
  const DecodeRules& decode_rules() const override { return rules_; }

 private:
  std::vector<std::string> texts_;
  TokenId first_special_ = 0;
  SpecialTokens special_;
  DecodeRules rules_;
};

}  // namespace coppice::text
