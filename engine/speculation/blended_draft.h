// BlendedDraft: a draft tree grown likeliest node first, each node's probability judged from several match lengths in
// all trees (draft_model.h). DraftTrace remembers the judgements until their outcome teaches the model.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/speculation/draft_model.h"
#include "engine/speculation/speculator.h"
#include "engine/speculation/suffix_tree.h"

namespace coppice::engine {

// The judgements of a sequence's last draft. One for each sequence.
class DraftTrace {
 public:
  void clear() {
    guesses_.clear();
    at_ = kDone;
  }
  // Teaches the model with the sequence's next token: each judged token that could stand here did, or did not.
  void learn(DraftModel& model, TokenId token);
  // 0 … DraftModel::kConfidences - 1: how often the likeliest token of a node was right of late.
  std::uint32_t confidence() const;

 private:
  friend class BlendedDraft;
  static constexpr std::int32_t kDone = -2;  // no parent: the sequence has left the judged tokens
  struct Guess {
    std::int32_t parent = -1;
    TokenId token = 0;
    ExpertOpinion opinion;
  };
  std::vector<Guess> guesses_;  // children of one parent stand together, parents before children
  std::int32_t at_ = kDone;     // the guess that the sequence has reached; -1: before the first
  std::size_t next_ = 0;        // guesses from here on may be its children
  float hit_rate_ = 0.5F;       // of a node's likeliest token, a fading average
};

// Owner and thread: one, the same (it keeps scratch memory).
class BlendedDraft {
 public:
  // Fills the empty `tree` with at most `draft_max` nodes, none below `survival_min`, and `trace` with the judgements.
  // REQUIRES: at most kExpertTrees sources: the sequence's own tree, its tenant's, everyone's.
  void propose(const DraftModel& model, std::span<const DraftSource> sources, std::int32_t draft_max,
               float survival_min, DraftTrace& trace, DraftTree& tree);
  // Tokens that a draft should be able to follow a match before it meets the tree's depth limit.
  static std::uint32_t room(const SuffixTree& tree) {
    return std::min(kRoomMax, static_cast<std::uint32_t>(tree.depth()) / 2);
  }
  // 0, 1: near or far in this sequence's text. 2, 3: in a recent or an older text of another sequence.
  static std::uint8_t age_bucket(const SuffixTree::Age& age);

 private:
  static constexpr std::uint32_t kRoomMax = 32;  // nodes of the longest draft by default

  using Loci = std::array<SuffixTree::Locus, kMatchExperts>;
  struct Node {
    float survival = 0;
    std::int32_t parent = -1;   // a guess
    std::int32_t drafted = -1;  // index in the draft, once chosen
    TokenId token = 0;
    Loci loci;
  };
  struct IsLess {  // the earlier guess goes first among equals
    const std::vector<Node>& nodes;
    bool operator()(std::int32_t a, std::int32_t b) const {
      const float left = nodes[static_cast<std::size_t>(a)].survival;
      const float right = nodes[static_cast<std::size_t>(b)].survival;
      return left != right ? left < right : a > b;
    }
  };
  struct Follower {
    TokenId token = 0;
    std::array<std::uint32_t, kMatchExperts> counts{};
    std::array<std::uint8_t, kMatchExperts> ages{};
    Loci loci;
  };

  void find_experts(std::span<const DraftSource> sources);
  void expand(const DraftModel& model, std::span<const DraftSource> sources, std::int32_t parent, float survival_min,
              DraftTrace& trace);
  void gather_followers(std::span<const DraftSource> sources, const Loci& loci);
  float judge_followers(const DraftModel& model, std::size_t trees, const Loci& loci, TokenId before,
                        std::int32_t parent, DraftTrace& trace);
  void gather(const DraftSource& source, std::size_t expert, SuffixTree::Locus locus);
  void emit(DraftTree& tree);

  std::vector<Node> nodes_;  // as the trace's guesses
  std::vector<std::int32_t> heap_;
  std::vector<std::int32_t> chosen_;
  std::vector<Follower> followers_;
  std::array<std::uint32_t, kMatchExperts> followed_{};
  std::array<TokenId, kMatchExperts> newest_{};
  std::uint32_t confidence_ = 0;
  Loci root_;
  std::array<std::uint32_t, kMatchExperts> longer_{};  // tokens by which a match is longer than its locus's string
};

}  // namespace coppice::engine
