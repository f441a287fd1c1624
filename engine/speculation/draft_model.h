// DraftModel: how likely a token is to follow, from what several match lengths in several trees say about it, learnt
// online from what came true.
//
// An expert is one match (its tree, its length, how often it was followed, how often and how lately by this token) or
// one of two tokens: some are easily guessed and some never, and after some anything may come. Two steps, both of
// lossless text compression:
//   1. An expert's raw counts are no probabilities: how far they may be trusted is learnt, per kind of situation, from
//      how often such an expert was right (secondary estimation: Bloom, "Solving the problems of context modeling",
//      1998; Shkarin, "PPM: one step to practicality", DCC 2002).
//   2. Experts are blended in the logistic domain with weights learnt by gradient, so that agreeing ones strengthen one
//      another and useless ones fade (Mahoney, "Adaptive weighing of context models for lossless data compression",
//      2005).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/types.h"

namespace coppice::engine {

inline constexpr std::size_t kExpertsPerTree = 3;
inline constexpr std::size_t kExpertTrees = 3;
inline constexpr std::uint32_t kAges = 4;
inline constexpr std::size_t kMatchExperts = kExpertsPerTree * kExpertTrees;
inline constexpr std::size_t kExperts = kMatchExperts + 2;  // and one each for the token guessed and the one before it

// What one match saw.
struct MatchView {
  std::uint32_t length = 0;
  std::uint32_t followed = 0;  // how often something followed it; 0 = there is no such match
  std::uint32_t count = 0;     // how often this token did
  std::uint8_t age = 0;        // 0 ... kAges - 1: of the newest text in which it did
  bool is_newest = false;
};

// A guess as it must be remembered to learn from it.
struct ExpertOpinion {
  std::array<std::uint32_t, kExperts> cells{};
  std::uint16_t mixer = 0;
  std::uint16_t present = 0;  // bit i: expert i has a say
  float probability = 0;
};

// Owner: a speculator. Thread: one. Holds statistics only, no tokens.
class DraftModel {
 public:
  DraftModel();
  // The probability that `token`, of which these are the views, follows `before`. `confidence` 0 … kConfidences - 1:
  // how well guesses for this request did of late.
  static constexpr std::uint32_t kConfidences = 4;
  ExpertOpinion judge(const std::array<MatchView, kMatchExperts>& views, TokenId before, TokenId token,
                      std::uint32_t confidence) const;
  // It followed, or not.
  void learn(const ExpertOpinion& opinion, bool followed);

 private:
  static constexpr std::uint32_t kLengths = 12;
  static constexpr std::uint32_t kFollowed = 7;
  static constexpr std::uint32_t kShares = 8;
  static constexpr std::size_t kMatchCells = kMatchExperts * kLengths * kFollowed * kShares * kAges * 2;
  static constexpr std::size_t kBeliefs = 4 * kShares;  // what the matches think, in short
  static constexpr std::size_t kTokens = 4096;          // tokens that share a place here share what is learnt
  static constexpr std::size_t kCells = kMatchCells + 2 * kTokens * kBeliefs;
  static constexpr std::size_t kMixers = (std::size_t{1} << kMatchExperts) * kConfidences;

  struct Cell {                     // 8 bytes: a cache line holds all that similar situations know
    float stretched = 0;            // ln(p / (1 - p))
    std::uint16_t probability = 0;  // in 65536ths
    std::uint16_t seen = 0;
    void set(float value);
    float value() const { return static_cast<float>(probability) / 65536; }
  };
  struct Mixer {
    std::array<float, kExperts> weights{};
    float bias = 0;
    float seen = 0;
  };
  static std::size_t match_cell(std::size_t expert, const MatchView& view);

  static std::size_t token_cell(std::size_t expert, TokenId token, std::size_t belief);

  std::vector<Cell> cells_;
  std::vector<Mixer> mixers_;
};

}  // namespace coppice::engine
