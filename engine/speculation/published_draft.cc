// The published rule: every match length expanded, the best expansion kept.
#include "engine/speculation/published_draft.h"

#include <algorithm>
#include <cmath>

namespace coppice::engine {
namespace {

constexpr int kChildrenMax = 64;  // followers looked at, about the likeliest first: bounds the work for one node

}  // namespace

void PublishedDraft::propose(std::span<const DraftSource> sources, const PublishedOptions& options,
                             std::int32_t draft_max, float survival_min, DraftTree& tree) {
  float best = 0;
  std::uint32_t best_length = 0;
  for (const DraftSource& source : sources) {
    source.visit_matches([&](SuffixTree::Locus locus) {
      const auto by_length = static_cast<std::int32_t>(std::floor(options.alpha * locus.depth + 1e-6));
      const float score = expand(*source.tree, locus, options, std::min(draft_max, by_length));
      if (score > best || (score == best && score > 0 && locus.depth > best_length)) {
        best = score;
        best_length = locus.depth;
        std::swap(tree, expansion_);
      }
      return true;
    });
  }
  const auto kept = std::partition_point(tree.survival.begin(), tree.survival.end(),
                                         [&](float survival) { return survival >= survival_min; });
  tree.truncate(static_cast<std::int32_t>(kept - tree.survival.begin()));
}

// Fills expansion_. Returns the sum of its survivals.
float PublishedDraft::expand(const SuffixTree& tree, SuffixTree::Locus locus, const PublishedOptions& options,
                             std::int32_t size_max) {
  expansion_.clear();
  heap_.clear();
  float score = 0;
  if (size_max > 0) {
    add_children(tree, locus, -1, 1.0F, options);
  }
  while (!heap_.empty() && expansion_.size() < size_max) {
    std::pop_heap(heap_.begin(), heap_.end(), is_after);
    const Candidate candidate = heap_.back();
    heap_.pop_back();
    expansion_.add(candidate.token, candidate.parent, candidate.survival);
    score += candidate.survival;
    add_children(tree, candidate.locus, expansion_.size() - 1, candidate.survival, options);
  }
  return score;
}

void PublishedDraft::add_children(const SuffixTree& tree, SuffixTree::Locus locus, std::int32_t parent, float survival,
                                  const PublishedOptions& options) {
  if (static_cast<std::int32_t>(locus.depth) >= tree.depth()) {
    return;
  }
  // The sequence's own end is a suffix too, but says nothing about what follows.
  const auto count = static_cast<float>(tree.followed_count(locus, kChildrenMax));
  Candidate best;
  int left = kChildrenMax;
  tree.visit_followers(locus, [&](TokenId token, SuffixTree::Locus next) {
    const Candidate candidate{survival * static_cast<float>(tree.count(next)) / count, parent, token, next};
    if (candidate.survival < options.probability_min) {
      return --left > 0;
    }
    if (!options.paths) {
      heap_.push_back(candidate);
      std::push_heap(heap_.begin(), heap_.end(), is_after);
    } else if (candidate.survival > best.survival ||
               (candidate.survival == best.survival && candidate.token < best.token)) {
      best = candidate;
    }
    return --left > 0;
  });
  if (options.paths && best.survival > 0) {
    heap_.push_back(best);
    std::push_heap(heap_.begin(), heap_.end(), is_after);
  }
}

}  // namespace coppice::engine
