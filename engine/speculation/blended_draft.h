// BlendedDraft: a draft tree grown likeliest node first, each node's probability judged from several match lengths in
// both trees (draft_model.h), and the memory of it from which the model learns when the truth comes.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/speculation/draft_model.h"
#include "engine/speculation/draft_source.h"
#include "engine/speculation/speculator.h"

namespace coppice::engine {

// What a sequence's last proposal was made of, so that its outcome teaches the model. One a sequence.
class DraftTrace {
 public:
  void clear() {
    guesses_.clear();
    at_ = kDone;
  }
  // The next token that the sequence took: all guesses for its place are judged by it.
  void learn(DraftModel& model, TokenId token);
  // 0 … DraftModel::kConfidences - 1: how well the sequence's guesses did of late.
  std::uint32_t confidence() const;

 private:
  friend class BlendedDraft;
  static constexpr std::int32_t kDone = -2;
  struct Guess {
    std::int32_t parent = -1;
    TokenId token = 0;
    ExpertOpinion opinion;
  };
  std::vector<Guess> guesses_;  // children of one parent stand together, parents before children
  std::int32_t at_ = kDone;     // the guess that the sequence has come to; -1 = before the first
  std::size_t next_ = 0;        // guesses from here on may be its children
  float hit_rate_ = 0.5F;       // of the likeliest guess, fading
};

// Owner and thread: one, the same (it keeps scratch memory).
class BlendedDraft {
 public:
  // Fills the empty `tree` with at most `draft_max` nodes, none below `survival_min`, and `trace` with what they were
  // made of. At most kExpertTrees sources: the sequence's own tree, its tenant's, everyone's.
  void propose(const DraftModel& model, std::span<const DraftSource> sources, std::int32_t draft_max,
               float survival_min, DraftTrace& trace, DraftTree& tree);
  // Tokens that a draft may follow a match before it meets the trees' depth limit: of equally often followed matches,
  // ones that are short enough for that are followed.
  static std::uint32_t room(const SuffixTree& tree) {
    return std::min(32U, static_cast<std::uint32_t>(tree.depth()) / 2);
  }
  // Of this sequence's text: near or far. Of another's: one of the last few, such as an earlier turn of the same
  // conversation, or not.
  static std::uint8_t age_bucket(const SuffixTree::Age& age);

 private:
  using Places = std::array<SuffixTree::Place, kMatchExperts>;
  struct Node {
    float survival = 0;
    std::int32_t parent = -1;   // a guess
    std::int32_t drafted = -1;  // index among the chosen, once it is
    TokenId token = 0;
    Places places;
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
    Places places;
  };

  void find_experts(std::span<const DraftSource> sources);
  void expand(const DraftModel& model, std::span<const DraftSource> sources, std::int32_t parent, float survival_min,
              DraftTrace& trace);
  void gather(const DraftSource& source, std::size_t expert, SuffixTree::Place place);
  void emit(DraftTree& tree);

  std::vector<Node> nodes_;  // as the trace's guesses
  std::vector<std::int32_t> heap_;
  std::vector<std::int32_t> chosen_;
  std::vector<Follower> followers_;
  std::array<std::uint32_t, kMatchExperts> followed_{};
  std::array<TokenId, kMatchExperts> newest_{};
  std::uint32_t confidence_ = 0;
  Places root_;
  std::array<std::uint32_t, kMatchExperts>
      longer_{};  // by how much an expert's match is longer than its place's string
};

}  // namespace coppice::engine
