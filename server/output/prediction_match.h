// PredictionMatch: how much of a request's own prediction came true, for `usage`: a function of the two token sequences
// alone, whatever was drafted and whether speculation is on.
//
// A predicted token is accepted when the answer goes on with it: after the accepted token before it, or, where the two
// have parted, as the second of two tokens that follow each other in both, further on in the prediction. So every
// predicted token counts once, in order, and common tokens met by chance do not count.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/types.h"

namespace coppice::server {

// A prediction and where its pairs of tokens stand. Immutable: all choices of a request share it.
class Prediction {
 public:
  explicit Prediction(std::vector<TokenId> tokens);

  const std::vector<TokenId>& tokens() const { return tokens_; }
  // The first place from `begin` on where `first` and `second` stand one behind the other; -1: none. O(log n).
  std::int64_t find(TokenId first, TokenId second, std::size_t begin) const;

 private:
  std::vector<TokenId> tokens_;
  absl::flat_hash_map<std::uint64_t, std::vector<std::uint32_t>> pairs_;  // ascending places
};

// Follows one choice. Owner and thread: its session.
class PredictionMatch {
 public:
  // Null: there is no prediction, and nothing is counted.
  explicit PredictionMatch(std::shared_ptr<const Prediction> prediction) : prediction_(std::move(prediction)) {}

  void push(TokenId token);
  std::int64_t accepted() const { return accepted_; }
  std::int64_t rejected() const;

 private:
  std::shared_ptr<const Prediction> prediction_;
  std::size_t next_ = 0;  // place of the prediction that may come next
  std::int64_t accepted_ = 0;
  TokenId last_ = -1;
  bool was_accepted_ = false;  // the last token
};

}  // namespace coppice::server
