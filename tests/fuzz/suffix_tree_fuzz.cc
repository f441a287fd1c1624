// Any order of appends, ends and removals on a suffix tree: it keeps its invariants, and counts are those of its texts.
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/speculation/suffix_tree.h"

namespace {

using coppice::TokenId;
using coppice::engine::SuffixTree;

// Counts a string in all texts by looking at every position.
std::uint32_t count_in(const std::vector<std::vector<TokenId>>& texts, const std::vector<TokenId>& string) {
  std::uint32_t count = 0;
  for (const std::vector<TokenId>& text : texts) {
    for (std::size_t begin = 0; begin + string.size() <= text.size(); ++begin) {
      count += std::equal(string.begin(), string.end(), text.begin() + static_cast<std::ptrdiff_t>(begin)) ? 1 : 0;
    }
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 600) {
    return 0;
  }
  constexpr std::size_t kSequences = 4;
  const std::int32_t depth = data[0] % 12 + 1;
  const int alphabet = data[1] % 3 + 1;
  SuffixTree tree(depth);
  std::vector<SuffixTree::SequenceId> growing(kSequences);
  std::vector<std::vector<TokenId>> texts(kSequences);
  std::vector<std::pair<SuffixTree::SequenceId, std::vector<TokenId>>> finished;
  for (SuffixTree::SequenceId& sequence : growing) {
    sequence = tree.begin();
  }
  for (std::size_t i = 2; i < size; ++i) {
    const std::size_t which = data[i] >> 2 & 3;
    if (data[i] >= 0xF8) {
      tree.finish(growing[which]);
      finished.emplace_back(growing[which], std::move(texts[which]));
      growing[which] = tree.begin();
      texts[which].clear();
    } else if (data[i] >= 0xF0 && !finished.empty()) {
      const std::size_t gone = data[i] % finished.size();
      while (!tree.remove(finished[gone].first, 2)) {
      }
      finished.erase(finished.begin() + static_cast<std::ptrdiff_t>(gone));
    } else {
      const auto token = static_cast<TokenId>(data[i] >> 4) % alphabet;
      tree.append(growing[which], token);
      texts[which].push_back(token);
    }
    if (i % 16 == 0 || i + 1 == size) {
      COPPICE_CHECK(tree.integrity_problem().empty(), "a suffix tree's invariants");
    }
  }
  std::vector<std::vector<TokenId>> all = texts;
  for (const auto& [sequence, text] : finished) {
    all.push_back(text);
  }
  for (const std::vector<TokenId>& text : texts) {
    const std::size_t longest = std::min(text.size(), static_cast<std::size_t>(depth));
    for (std::size_t length = 1; length <= longest; ++length) {
      const std::vector<TokenId> string(text.end() - static_cast<std::ptrdiff_t>(length), text.end());
      const SuffixTree::Locus locus = tree.find(string);
      COPPICE_CHECK(locus.node != SuffixTree::kNoNode && tree.count(locus) == count_in(all, string), "exact counts");
    }
  }
  return 0;
}
