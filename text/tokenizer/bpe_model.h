// Byte-pair encoding of one piece of text: symbols (bytes or characters) are merged, lowest rank first, until no merge
// of the model applies (Sennrich et al., "Neural machine translation of rare words with subword units", ACL 2016).
// Ids equal those of Hugging Face `tokenizers` models/bpe, including unknown characters and byte fallback.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/types.h"
#include "text/tokenizer/token_tables.h"

namespace coppice::text {

// The contents of a model file: the input of BpeModel::create().
struct BpeDescription {
  std::vector<std::pair<std::string, TokenId>> vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  // in order of rank
  std::optional<std::string> unk_token;
  bool fuse_unk = false;
  bool byte_fallback = false;  // encodes an unknown character as the tokens <0xHH> of its bytes
  bool ignore_merges = false;  // encodes a piece that is in the vocabulary as that token, whatever the merges
  bool byte_level = false;     // pieces are raw bytes, vocabulary and merges in the byte alphabet
};

// Thread: immutable after create(); any number may call encode_piece() at once, each with its own Scratch.
class BpeModel {
 public:
  // Working memory of encode_piece(), reused for all pieces of a text.
  struct Scratch {
    struct Candidate {
      std::int32_t rank;
      std::int32_t position;
      TokenId id;
      // Orders a heap with the lowest rank on top, and the leftmost of equal ranks.
      bool operator<(const Candidate& other) const {
        return rank != other.rank ? rank > other.rank : position > other.position;
      }
    };
    std::vector<TokenId> ids;
    std::vector<Merge> merges;
    std::vector<Candidate> heap;
  };

  // ERRORS: InvalidArgument when a merge names a token that is not in the vocabulary, or byte_fallback lacks its
  // tokens.
  static absl::StatusOr<BpeModel> create(const BpeDescription& description);

  // Appends the ids of `piece`. Costs O(n log n); a piece that is one token costs one look-up.
  // REQUIRES: valid UTF-8, unless byte_level.
  void encode_piece(std::string_view piece, std::vector<TokenId>& out, Scratch& scratch) const;

  // Returns how many symbols the merging of `piece` begins with. REQUIRES: as above.
  std::size_t symbols_of(std::string_view piece) const;

 private:
  BpeModel() = default;

  absl::Status add_vocabulary(const BpeDescription& description);
  absl::Status add_merges(const BpeDescription& description);
  void find_word_boundary(const BpeDescription& description);
  void find_whole_pieces(const BpeDescription& description);

  void encode_unsplit(std::string_view piece, std::vector<TokenId>& out, Scratch& scratch) const;
  void initial_symbols(std::string_view piece, std::vector<TokenId>& ids) const;
  void add_unknown(std::string_view character, std::optional<TokenId>& unknown, std::vector<TokenId>& ids) const;
  void merge_short(Scratch& scratch) const;
  void merge_long(Scratch& scratch) const;

  TokenTable vocabulary_;    // as in the file
  TokenTable whole_pieces_;  // pieces that encode to one token
  MergeTable merges_;
  std::array<TokenId, 256> byte_ids_{};  // byte_level: symbol of a byte; byte_fallback: <0xHH>; -1: none
  std::array<TokenId, 128> ascii_ids_{};
  TokenId unk_ = -1;
  bool fuse_unk_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
  bool byte_level_ = false;
  // True if no merge joins text before "▁" with it, so that a text can be cut there (see find_word_boundary).
  bool cut_before_metaspace_ = false;
};

}  // namespace coppice::text
