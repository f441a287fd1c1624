// The suffix tree's interface: which part does what.
#include "engine/speculation/suffix_tree.h"

#include <algorithm>

#include "base/check.h"
#include "engine/speculation/tree/check.h"
#include "engine/speculation/tree/growth.h"
#include "engine/speculation/tree/removal.h"

namespace coppice::engine {

SuffixTree::SuffixTree(std::int32_t depth, std::uint32_t sequences_max)
    : store_(static_cast<std::uint32_t>(depth), sequences_max) {
  COPPICE_CHECK(depth >= 1 && depth <= kDepthMax, "a suffix tree's depth");
  COPPICE_CHECK(sequences_max <= kSequencesMax, "sequences fit in 24 bits");
}

SuffixTree::SequenceId SuffixTree::begin() {
  const SequenceId sequence = store_.texts.begin();
  store_.texts.set_growing(sequence, store_.ends.open(sequence));
  return sequence;
}

void SuffixTree::push(SequenceId sequence, std::span<const TokenId> tokens) {
  store_.texts.push(sequence, tokens);
}

std::size_t SuffixTree::enter(SequenceId sequence, std::size_t count) {
  count = std::min(count, waiting(sequence));
  suffix_tree::Growth growth(store_);
  for (std::size_t i = 0; i < count; ++i) {
    growth.enter_token(sequence);
  }
  return count;
}

void SuffixTree::finish(SequenceId sequence) {
  suffix_tree::Growth(store_).finish(sequence);
}

bool SuffixTree::remove(SequenceId sequence, std::size_t count) {
  return suffix_tree::Removal(store_).remove(sequence, count);
}

SuffixTree::Locus SuffixTree::find(std::span<const TokenId> string) const {
  Locus locus{kRoot, 0};
  for (const TokenId token : string) {
    locus = locus.depth < store_.depth ? follow(locus, token) : Locus{};
    if (locus.node == kNoNode) {
      return {};
    }
  }
  return locus;
}

bool SuffixTree::has_followers(Locus locus) const {
  const suffix_tree::Node& node = store_.nodes[locus.node];
  return locus.depth == node.depth ? node.first_child != kNoNode
                                   : store_.inner_token(node, locus.depth) != suffix_tree::kNoToken;
}

std::uint32_t SuffixTree::followed_count(Locus locus, int children_max) const {
  const suffix_tree::Node& node = store_.nodes[locus.node];
  if (locus.depth != node.depth) {
    // Where a leaf's writer stands, nothing has followed yet.
    const bool is_unwritten = store_.inner_token(node, locus.depth) == suffix_tree::kNoToken;
    return is_unwritten ? 0 : node.count + store_.ends.count_inside(node, locus.depth + 1);
  }
  std::uint32_t sum = 0;
  for (NodeId at = node.first_child; at != kNoNode; at = store_.nodes[at].next) {
    if (children_max-- == 0) {
      return node.count;
    }
    sum += store_.nodes[at].count + store_.ends.count_inside(store_.nodes[at], 0);
  }
  return sum;
}

std::string SuffixTree::integrity_problem() const {
  return suffix_tree::integrity_problem(store_);
}

}  // namespace coppice::engine
