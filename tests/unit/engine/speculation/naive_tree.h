// NaiveTree: what a suffix tree must answer, by counting every substring in a map. Slow and plainly right.
#pragma once

#include <algorithm>
#include <map>
#include <vector>

#include "base/types.h"

namespace coppice::testing {

class NaiveTree {
 public:
  using Tokens = std::vector<TokenId>;
  explicit NaiveTree(std::size_t depth) : depth_(depth) {}

  void append(int sequence, TokenId token) {
    Tokens& text = texts_[sequence];
    text.push_back(token);
    for (std::size_t length = 1; length <= std::min(depth_, text.size()); ++length) {
      ++counts_[Tokens(text.end() - static_cast<std::ptrdiff_t>(length), text.end())];
    }
  }
  void remove(int sequence) {
    const Tokens text = texts_[sequence];
    for (std::size_t begin = 0; begin < text.size(); ++begin) {
      for (std::size_t end = begin + 1; end <= std::min(text.size(), begin + depth_); ++end) {
        const auto found = counts_.find(
            Tokens(text.begin() + static_cast<std::ptrdiff_t>(begin), text.begin() + static_cast<std::ptrdiff_t>(end)));
        if (--found->second == 0) {
          counts_.erase(found);
        }
      }
    }
    texts_.erase(sequence);
  }
  std::uint32_t count(const Tokens& string) const {
    const auto found = counts_.find(string);
    return found == counts_.end() ? 0 : found->second;
  }
  // Lengths of the suffixes of a sequence that something followed before, longest first; below the limit.
  std::vector<std::uint32_t> matches(int sequence) const {
    const Tokens& text = texts_.at(sequence);
    std::vector<std::uint32_t> lengths;
    for (std::size_t length = std::min(depth_ - 1, text.size()); length > 0; --length) {
      Tokens string(text.end() - static_cast<std::ptrdiff_t>(length), text.end());
      string.push_back(0);
      // Keys are ordered: whatever starts with the string and has a token more stands at or after string + 0.
      const auto found = counts_.lower_bound(string);
      if (found != counts_.end() && found->first.size() > length &&
          std::equal(string.begin(), string.end() - 1, found->first.begin())) {
        lengths.push_back(static_cast<std::uint32_t>(length));
      }
    }
    return lengths;
  }
  const Tokens& text(int sequence) const { return texts_.at(sequence); }
  const std::map<Tokens, std::uint32_t>& counts() const { return counts_; }

 private:
  const std::size_t depth_;
  std::map<int, Tokens> texts_;
  std::map<Tokens, std::uint32_t> counts_;
};

}  // namespace coppice::testing
