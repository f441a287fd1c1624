// FillInMiddle: the tokens with which code models were trained to write what stands between two texts.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/types.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::server {

// A value. Thread: any.
struct FillInMiddle {
  TokenId prefix = -1;  // each stands before its text
  TokenId suffix = -1;
  TokenId middle = -1;  // -1: the answer follows the prefix's text
  bool suffix_is_first = false;

  // Nothing when the tokenizer has no such tokens.
  static std::optional<FillInMiddle> of(const text::Tokenizer& tokenizer);

  // Appends the prompt of the answer between the two texts.
  void append(std::span<const TokenId> before, std::span<const TokenId> after, std::vector<TokenId>& prompt) const;
};

}  // namespace coppice::server
