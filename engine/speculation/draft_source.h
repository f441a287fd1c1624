// What a draft is made from: a sequence's matches in a suffix tree, be it entered there itself or only followed along.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/speculation/suffix_tree.h"

namespace coppice::engine {

// The matches of a text that is not in the tree: where each of its suffixes would stand. Carried forward token by
// token. Valid until the tree changes. Owner and thread: one, the same.
class GhostMatch {
 public:
  void clear() { places_.clear(); }
  void advance(const SuffixTree& tree, TokenId token) {
    std::size_t kept = 0;
    places_.push_back({SuffixTree::kRoot, 0});
    for (const SuffixTree::Place place : places_) {
      const SuffixTree::Place next = tree.follow(place, token);
      if (next.node != SuffixTree::kNoNode && next.depth < static_cast<std::uint32_t>(tree.depth())) {
        places_[kept++] = next;
      }
    }
    places_.resize(kept);
  }
  // Longest first.
  std::span<const SuffixTree::Place> places() const { return places_; }

 private:
  std::vector<SuffixTree::Place> places_;
};

struct DraftSource {
  const SuffixTree* tree = nullptr;
  SuffixTree::SequenceId sequence = 0;  // entered in the tree and growing, unless there is a ghost
  const GhostMatch* ghost = nullptr;

  // As SuffixTree::visit_matches.
  template <typename Visit>
  void visit_matches(const Visit& visit) const {
    if (ghost == nullptr) {
      tree->visit_matches(sequence, visit);
      return;
    }
    for (const SuffixTree::Place place : ghost->places()) {
      if (tree->has_followers(place) && !visit(place)) {
        return;
      }
    }
  }
};

}  // namespace coppice::engine
