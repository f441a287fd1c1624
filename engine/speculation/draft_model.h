// DraftModel: how likely a token is to follow, from what several match lengths in several trees say about it. Learned
// online from the tokens that did follow.
//
// An expert is one match (its tree, its length, how often it was followed, how often and how lately by this token) or
// one of two tokens, the judged one and the one before: some tokens are easy to predict, some are not, and after some
// anything may follow. Two steps, both from lossless text compression:
//   1. An expert's raw counts are no probabilities. How far to trust them is learned, per kind of situation, from how
//      often such an expert was right (secondary estimation: Bloom, "Solving the problems of context modeling", 1998;
//      Shkarin, "PPM: one step to practicality", DCC 2002).
//   2. Experts are blended in the logistic domain with weights learned by gradient, so that agreeing ones strengthen
//   one
//      another and useless ones fade (Mahoney, "Adaptive weighing of context models for lossless data compression",
//      2005).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/types.h"

namespace coppice::engine {

inline constexpr std::size_t kExpertsPerTree = 3;  // matches judged, longest first
inline constexpr std::size_t kExpertTrees = 3;     // the sequence's, its tenant's, everyone's
inline constexpr std::size_t kMatchExperts = kExpertsPerTree * kExpertTrees;  // one for each match
inline constexpr std::size_t kExperts = kMatchExperts + 2;  // one each for the token and the one before
inline constexpr std::uint32_t kAges = 4;                   // BlendedDraft::age_bucket()

// What one match says about a token.
struct MatchView {
  std::uint32_t length = 0;    // tokens
  std::uint32_t followed = 0;  // how often something followed the match; 0: there is no such match
  std::uint32_t count = 0;     // how often this token did
  std::uint8_t age = 0;        // 0 … kAges - 1, of the newest text in which it did
  bool is_newest = false;      // the newest of all tokens that followed
};

// A judgement, as it must be remembered to learn from its outcome.
struct ExpertOpinion {
  std::array<std::uint32_t, kExperts> cells{};
  std::uint16_t mixer = 0;
  std::uint16_t present = 0;  // bit i: expert i counts
  float probability = 0;
};

// Owner: a speculator. Thread: one. Holds statistics only, no tokens.
class DraftModel {
 public:
  // Levels of how well drafts for a sequence did of late: DraftTrace::confidence().
  static constexpr std::uint32_t kConfidences = 4;

  DraftModel();
  // Returns the probability that `token` follows `before`. `views`: what each match says about `token`.
  // REQUIRES: confidence < kConfidences.
  ExpertOpinion judge(const std::array<MatchView, kMatchExperts>& views, TokenId before, TokenId token,
                      std::uint32_t confidence) const;
  // Learns from the outcome of a judgement: the token followed, or not.
  void learn(const ExpertOpinion& opinion, bool followed);

 private:
  // Buckets of a match's length, of how often it was followed, of the token's share in that (draft_model.cc).
  static constexpr std::uint32_t kLengths = 12;
  static constexpr std::uint32_t kFollowed = 7;
  static constexpr std::uint32_t kShares = 8;
  // Cells of match experts: one for each combination, times two for MatchView::is_newest.
  static constexpr std::size_t kMatchCells = kMatchExperts * kLengths * kFollowed * kShares * kAges * 2;
  // What the matches together say of a token: the share of the longest, times two bits (belief_of()).
  static constexpr std::size_t kBeliefs = 4 * kShares;
  // Hash buckets of tokens: 4096 for each of two experts take 2 MB of cells. Tokens of one bucket share what is
  // learned.
  static constexpr std::size_t kTokens = 4096;
  static constexpr std::size_t kCells = kMatchCells + 2 * kTokens * kBeliefs;
  // One mixer for each set of matches that are present, and each confidence.
  static constexpr std::size_t kMixers = (std::size_t{1} << kMatchExperts) * kConfidences;

  // How often experts in one kind of situation were right. 8 bytes: similar situations share a cache line.
  struct Cell {
    float evidence = 0;             // ln(p / (1 - p))
    std::uint16_t probability = 0;  // in 1/65536
    std::uint16_t seen = 0;         // outcomes
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
