// What SuffixSpeculator keeps for a tenant, a sequence, a corpus. Private to its two source files.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/speculation/suffix_speculator.h"

namespace coppice::engine {

// Suffixes taken out for each token that comes in while the trees are too large.
inline constexpr std::size_t kEvictPerToken = 2;
// And for each sequence that ends: requests with a salt of their own bring few tokens and a tree each.
inline constexpr std::size_t kEvictAtEnd = 48;
// Tokens of ended sequences that wait to be entered; the rest of those that end then is not learnt, nor while the trees
// are too large: a sequence with a rest cannot be evicted.
inline constexpr std::size_t kRestsMax = std::size_t{1} << 16;

struct SuffixSpeculator::Tenant {
  Tenant(std::string tenant, std::int32_t depth) : name(std::move(tenant)), tree(depth) {}
  const std::string name;
  SuffixTree tree;
  std::deque<SuffixTree::SequenceId> finished;  // oldest first
  std::size_t users = 0;                        // growing sequences, and texts that wait to be entered or taken out
  std::size_t corpus_texts = 0;                 // in the tree
  std::size_t bytes = 0;                        // as it was last accounted
};

struct SuffixSpeculator::State {
  Tenant* tenant = nullptr;
  std::unique_ptr<SuffixTree> own;
  SuffixTree::SequenceId own_sequence = 0;
  SuffixTree::SequenceId shared_sequence = 0;
  TokenSource source = TokenSource::kPrediction;  // of the last observed tokens
  std::vector<TokenId> prediction_start;
  std::vector<TokenId> prompt_tail;  // until it is entered in the tenant's tree
  std::size_t output_count = 0;
  DraftTrace trace;
  GhostMatch ghost;  // in everyone's corpora
  std::uint64_t ghost_version = 0;
};

// A corpus, as it stands in the trees.
struct SuffixSpeculator::Library {
  std::vector<std::pair<Tenant*, SuffixTree::SequenceId>> members;
};

struct SuffixSpeculator::Feed {
  Tenant* tenant = nullptr;
  Library* library = nullptr;  // null: an output, of an earlier run or of a sequence that ended (its rest)
  SharedText text;
  SuffixTree::SequenceId sequence = 0;
  std::size_t done = 0;
  bool is_begun = false;
  bool is_rest = false;
};

}  // namespace coppice::engine
