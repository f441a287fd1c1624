// A tokenizer of a few handmade tokens, for tests of what stands above tokenizers. Immutable; any thread.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace coppice::text {

// Token i has the text vocabulary[i]; tokens 0 "<s>" (BOS) and 1 "</s>" (end) are special; `added` are added tokens
// that are not, and stand behind the words. encode() takes the longest token that fits; text without any fails.
class TestTokenizer final : public Tokenizer {
 public:
  explicit TestTokenizer(std::vector<std::string> words, const std::vector<std::string>& added = {})
      : vocabulary_({"<s>", "</s>"}) {
    vocabulary_.insert(vocabulary_.end(), words.begin(), words.end());
    first_added_ = vocab_size();
    vocabulary_.insert(vocabulary_.end(), added.begin(), added.end());
    special_.bos = 0;
    special_.eos = 1;
    special_.add_bos = true;
  }

  absl::StatusOr<std::vector<TokenId>> encode(std::string_view utf8, EncodeOptions options) const override {
    std::vector<TokenId> ids;
    if (options.add_special) {
      ids.push_back(special_.bos);
    }
    for (std::size_t at = 0; at < utf8.size();) {
      const TokenId id = longest_match(utf8, at, options);
      if (id < 0) {
        return absl::InvalidArgumentError("the test tokenizer has no token for this text");
      }
      ids.push_back(id);
      at += vocabulary_[static_cast<std::size_t>(id)].size();
    }
    return ids;
  }

  std::size_t encode_memory(std::string_view utf8) const override { return memory_of_byte * utf8.size(); }

  std::int32_t vocab_size() const override { return static_cast<std::int32_t>(vocabulary_.size()); }
  std::string piece(TokenId id) const override {
    return id >= 0 && id < vocab_size() ? vocabulary_[static_cast<std::size_t>(id)] : std::string();
  }
  bool is_special(TokenId id) const override {
    return id == 0 || id == 1 ||
           (!more_special.empty() &&
            std::find(more_special.begin(), more_special.end(), piece(id)) != more_special.end());
  }
  std::optional<TokenId> token_to_id(std::string_view piece) const override {
    const auto found = std::find(vocabulary_.begin(), vocabulary_.end(), piece);
    return found == vocabulary_.end() ? std::nullopt : std::optional(static_cast<TokenId>(found - vocabulary_.begin()));
  }
  const SpecialTokens& special() const override { return special_; }
  std::string_view kind() const override { return "test"; }
  TokenText token_text(TokenId id, bool /*is_first*/) const override {
    if (id < 0 || id >= vocab_size()) {
      return {};
    }
    return {.form = TokenForm::kText,
            .is_special = is_special(id),
            .bytes = vocabulary_[static_cast<std::size_t>(id)],
            .is_added = is_special(id) || id >= first_added_};
  }
  const DecodeRules& decode_rules() const override { return rules_; }

  std::size_t memory_of_byte = 0;         // that encode() says it takes
  std::vector<std::string> more_special;  // words that are special tokens

 private:
  TokenId longest_match(std::string_view text, std::size_t at, const EncodeOptions& options) const {
    TokenId best = -1;
    for (TokenId id = 0; id < vocab_size(); ++id) {
      const std::string& word = vocabulary_[static_cast<std::size_t>(id)];
      const bool is_longer = best < 0 || word.size() > vocabulary_[static_cast<std::size_t>(best)].size();
      const bool is_plain = std::any_of(options.plain.begin(), options.plain.end(), [&](const TextRange& range) {
        return range.begin < at + word.size() && range.end > at;
      });
      const bool is_allowed = is_special(id) ? options.parse_special && !is_plain : id < first_added_ || !is_plain;
      if (is_longer && is_allowed && text.substr(at).starts_with(word)) {
        best = id;
      }
    }
    return best;
  }

  TokenId first_added_ = 0;
  std::vector<std::string> vocabulary_;
  SpecialTokens special_;
  DecodeRules rules_;
};

}  // namespace coppice::text
