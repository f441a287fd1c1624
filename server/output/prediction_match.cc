// Places of pairs, and one walk.
#include "server/output/prediction_match.h"

#include <algorithm>
#include <utility>

namespace coppice::server {
namespace {

std::uint64_t key_of(TokenId first, TokenId second) {
  return std::uint64_t{static_cast<std::uint32_t>(first)} << 32U | static_cast<std::uint32_t>(second);
}

}  // namespace

Prediction::Prediction(std::vector<TokenId> tokens) : tokens_(std::move(tokens)) {
  for (std::size_t i = 0; i + 1 < tokens_.size(); ++i) {
    pairs_[key_of(tokens_[i], tokens_[i + 1])].push_back(static_cast<std::uint32_t>(i));
  }
}

std::int64_t Prediction::find(TokenId first, TokenId second, std::size_t begin) const {
  const auto found = pairs_.find(key_of(first, second));
  if (found == pairs_.end()) {
    return -1;
  }
  const auto place = std::lower_bound(found->second.begin(), found->second.end(), begin);
  return place == found->second.end() ? -1 : static_cast<std::int64_t>(*place);
}

void PredictionMatch::push(TokenId token) {
  if (prediction_ == nullptr) {
    return;
  }
  const std::vector<TokenId>& tokens = prediction_->tokens();
  if (next_ < tokens.size() && tokens[next_] == token) {
    ++next_;
    ++accepted_;
    was_accepted_ = true;
  } else if (const std::int64_t place = prediction_->find(last_, token, next_); place >= 0) {
    next_ = static_cast<std::size_t>(place) + 2;
    accepted_ += was_accepted_ ? 1 : 2;
    was_accepted_ = true;
  } else {
    was_accepted_ = false;
  }
  last_ = token;
}

std::int64_t PredictionMatch::rejected() const {
  return prediction_ == nullptr ? 0 : static_cast<std::int64_t>(prediction_->tokens().size()) - accepted_;
}

}  // namespace coppice::server
