// What a draft is made from: a sequence's matches in a suffix tree, whether the sequence is entered there or only
// followed along.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/speculation/suffix_tree.h"

namespace coppice::engine {

// The matches of a text that is not in the tree: the locus of each of its suffixes that occurs there. Advanced token by
// token. Valid until the tree changes. Owner and thread: one, the same.
class DetachedMatch {
 public:
  void clear() { loci_.clear(); }
  void advance(const SuffixTree& tree, TokenId token) {
    std::size_t kept = 0;
    loci_.push_back({SuffixTree::kRoot, 0});
    for (const SuffixTree::Locus locus : loci_) {
      const SuffixTree::Locus next = tree.follow(locus, token);
      if (next.node != SuffixTree::kNoNode && next.depth < static_cast<std::uint32_t>(tree.depth())) {
        loci_[kept++] = next;
      }
    }
    loci_.resize(kept);
  }
  // Longest first.
  std::span<const SuffixTree::Locus> loci() const { return loci_; }

 private:
  std::vector<SuffixTree::Locus> loci_;
};

struct DraftSource {
  const SuffixTree* tree = nullptr;
  SuffixTree::SequenceId sequence = 0;      // entered in the tree and growing; read only without `detached`
  const DetachedMatch* detached = nullptr;  // not null: the sequence is not in the tree, this is its match

  // As SuffixTree::visit_matches.
  template <typename Visit>
  void visit_matches(const Visit& visit) const {
    if (detached == nullptr) {
      tree->visit_matches(sequence, visit);
      return;
    }
    for (const SuffixTree::Locus locus : detached->loci()) {
      if (tree->has_followers(locus) && !visit(locus)) {
        return;
      }
    }
  }
};

}  // namespace coppice::engine
