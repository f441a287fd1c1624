// PublishedDraft: the published suffix-decoding rule, for comparison. One match length of one tree is chosen and its
// raw counts are trusted ("SuffixDecoding: Extreme Speculative Decoding for Emerging AI Applications", Oliaro et al.,
// arXiv 2411.04975):
//   for every match length m: expand greedily by D(child) = D(parent) * count(child) / count(parent), at most
//   alpha * m nodes, none with D below 0.1; keep the expansion with the largest sum of D, a longer match on a tie.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/speculation/speculator.h"
#include "engine/speculation/suffix_tree.h"

namespace coppice::engine {

struct PublishedOptions {
  double alpha = 1.0;
  bool paths = false;  // only the likeliest child of each node
  float probability_min = 0.1F;
};

// Owner and thread: one, the same (it keeps scratch memory).
class PublishedDraft {
 public:
  // Fills the empty `tree` with at most `draft_max` nodes, none below `survival_min`. Earlier sources win ties.
  void propose(std::span<const DraftSource> sources, const PublishedOptions& options, std::int32_t draft_max,
               float survival_min, DraftTree& tree);

 private:
  struct Candidate {
    float survival = 0;
    std::int32_t parent = -1;
    TokenId token = 0;
    SuffixTree::Locus locus;
  };
  // Equally likely candidates: the one whose parent came first, then the lower token, comes first.
  static bool is_after(const Candidate& a, const Candidate& b) {
    if (a.survival != b.survival) {
      return a.survival < b.survival;
    }
    return a.parent != b.parent ? a.parent > b.parent : a.token > b.token;
  }
  float expand(const SuffixTree& tree, SuffixTree::Locus locus, const PublishedOptions& options, std::int32_t size_max);
  void add_children(const SuffixTree& tree, SuffixTree::Locus locus, std::int32_t parent, float survival,
                    const PublishedOptions& options);

  std::vector<Candidate> heap_;
  DraftTree expansion_;
};

}  // namespace coppice::engine
