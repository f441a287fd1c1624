// Experts' cells and the mixers that blend them.
#include "engine/speculation/draft_model.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace coppice::engine {
namespace {

// Probabilities stay within [kProbabilityMin, 1 - kProbabilityMin]: a logit of at most 6.2, so that no expert outweighs
// all others.
constexpr float kProbabilityMin = 0.002F;
// Rates and weights of the online learning. Chosen by hand, not by a search; `coppice bench speculation` shows what
// they come to.
constexpr int kCellMemory = 200;          // outcomes a cell averages over; older ones fade
constexpr int kCellPrior = 3;             // outcomes that a cell's first probability counts for
constexpr float kMixerRateFirst = 0.08F;  // of the first step; falls with the square root of the steps
constexpr float kMixerRate = 0.005F;      // the least it falls to
constexpr float kTokenWeight = 0.15F;     // of a token's expert, at first; a match's is 1 / the matches present
// Entries of the logit table: 1/4096 of probability each, finer than kProbabilityMin.
constexpr std::size_t kLogitSteps = 4096;
// A cell's probability is stored in 16 bits.
constexpr float kProbabilityUnits = 65536;

// ln(p / (1 - p)), from a table: it is needed several times a token.
std::vector<float> make_logit_table() {
  std::vector<float> table(kLogitSteps);
  for (std::size_t i = 0; i < kLogitSteps; ++i) {
    const float probability = (static_cast<float>(i) + 0.5F) / kLogitSteps;
    table[i] = std::log(probability / (1 - probability));
  }
  return table;
}
float logit(float probability) {
  static const std::vector<float> table = make_logit_table();
  return table[static_cast<std::size_t>(probability * kLogitSteps)];
}
float sigmoid(float logit) {
  return 1 / (1 + std::exp(-logit));
}

// Buckets of DraftModel::kLengths: single lengths where they differ most, then about logarithmic.
std::uint32_t length_bucket(std::uint32_t length) {
  // By length, up to 63 tokens.
  static constexpr std::uint8_t kBuckets[64] = {0,  0,  1,  2,  3,  4,  4,  5,  5,  6,  6,  6,  7,  7,  7,  7,
                                                8,  8,  8,  8,  8,  8,  8,  8,  9,  9,  9,  9,  9,  9,  9,  9,
                                                10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10,
                                                11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11};
  return kBuckets[std::min(length, 63U)];
}

// Buckets of DraftModel::kFollowed: 1, 2, then powers of two.
std::uint32_t followed_bucket(std::uint32_t followed) {
  return followed <= 2 ? followed - 1 : std::min(6U, static_cast<std::uint32_t>(std::bit_width(followed - 1)));
}

// Buckets of DraftModel::kShares: never, sixths, always.
std::uint32_t share_bucket(std::uint32_t count, std::uint32_t followed) {
  if (count == 0) {
    return 0;
  }
  return count >= followed ? 7 : 1 + count * 6 / followed;
}

// One of DraftModel::kBeliefs: the share that the longest match gives the token, whether that match was followed more
// than once, and whether the tenant's tree's longest match gives the token more than half.
std::size_t belief_of(const std::array<MatchView, kMatchExperts>& views) {
  const MatchView& shared = views[kExpertsPerTree];
  const MatchView& first = views[0].followed > 0 ? views[0] : shared;
  const std::size_t share = first.followed == 0 ? 0 : share_bucket(first.count, first.followed);
  const std::size_t often = first.followed > 1 ? 1 : 0;
  const std::size_t agreed = shared.followed > 0 && shared.count * 2 > shared.followed ? 2 : 0;
  return share + 8 * (often + agreed);
}

}  // namespace

void DraftModel::Cell::set(float value) {
  value = std::clamp(value, kProbabilityMin, 1 - kProbabilityMin);
  probability = static_cast<std::uint16_t>(std::lround(value * kProbabilityUnits));
  evidence = logit(value);
}

// Cells start with the share that their counts give, as far as short and rare matches may be trusted; mixers with the
// mean of the matches that are present.
DraftModel::DraftModel() : cells_(kCells), mixers_(kMixers) {
  // A typical value for each bucket of length_bucket() and followed_bucket().
  static constexpr float kFollowedTypical[kFollowed] = {1, 2, 4, 7, 14, 28, 60};
  static constexpr float kLengthTypical[kLengths] = {1, 2, 3, 4, 6, 8, 11, 15, 20, 28, 40, 60};
  // The trust in n occurrences, or tokens, is n / (n + kDoubt).
  static constexpr float kDoubt = 0.7F;
  for (std::size_t i = 0; i < kMatchCells; ++i) {
    const std::size_t share = i / (kAges * 2) % kShares;
    const std::size_t followed = i / (kAges * 2 * kShares) % kFollowed;
    const float length = kLengthTypical[i / (kAges * 2 * kShares * kFollowed) % kLengths];
    const float frequency = share == 0 ? 0 : share == kShares - 1 ? 1 : (static_cast<float>(share) - 0.5F) / 6;
    const float trust = kFollowedTypical[followed] / (kFollowedTypical[followed] + kDoubt) * length / (length + kDoubt);
    cells_[i].set(std::clamp(frequency * trust, 0.02F, 0.97F));
  }
  for (std::size_t i = kMatchCells; i < kCells; ++i) {
    cells_[i].set(std::clamp(static_cast<float>(i % kShares) / kShares, 0.05F, 0.95F));
  }
  for (std::size_t i = 0; i < kMixers; ++i) {
    const int experts = std::popcount(i / kConfidences);
    mixers_[i].weights.fill(experts > 0 ? 1.0F / static_cast<float>(experts) : 0.0F);
    mixers_[i].weights[kMatchExperts] = kTokenWeight;
    mixers_[i].weights[kMatchExperts + 1] = kTokenWeight;
  }
}

std::size_t DraftModel::match_cell(std::size_t expert, const MatchView& view) {
  std::size_t cell = expert;
  cell = cell * kLengths + length_bucket(view.length);
  cell = cell * kFollowed + followed_bucket(view.followed);
  cell = cell * kShares + share_bucket(view.count, view.followed);
  return (cell * kAges + view.age) * 2 + (view.is_newest ? 1 : 0);
}

std::size_t DraftModel::token_cell(std::size_t expert, TokenId token, std::size_t belief) {
  constexpr std::uint32_t kGolden = 0x9E3779B1U;  // 2^32 / golden ratio: spreads consecutive tokens (Knuth, TAOCP 6.4)
  static_assert(kTokens == 1U << 12);
  const std::size_t hashed = static_cast<std::uint32_t>(token) * kGolden >> 20;
  return kMatchCells + (expert * kTokens + hashed) * kBeliefs + belief;
}

ExpertOpinion DraftModel::judge(const std::array<MatchView, kMatchExperts>& views, TokenId before, TokenId token,
                                std::uint32_t confidence) const {
  ExpertOpinion opinion;
  for (std::size_t i = 0; i < kMatchExperts; ++i) {
    if (views[i].followed > 0) {
      opinion.present = static_cast<std::uint16_t>(opinion.present | 1U << i);
      opinion.cells[i] = static_cast<std::uint32_t>(match_cell(i, views[i]));
    }
  }
  opinion.mixer = static_cast<std::uint16_t>(opinion.present * kConfidences + confidence);
  const std::size_t belief = belief_of(views);
  opinion.cells[kMatchExperts] = static_cast<std::uint32_t>(token_cell(0, token, belief));
  opinion.cells[kMatchExperts + 1] = static_cast<std::uint32_t>(token_cell(1, before, belief));
  opinion.present = static_cast<std::uint16_t>(opinion.present | 3U << kMatchExperts);
  const Mixer& mixer = mixers_[opinion.mixer];
  float sum = mixer.bias;
  for (unsigned present = opinion.present; present != 0; present &= present - 1) {
    const auto i = static_cast<std::size_t>(std::countr_zero(present));
    sum += mixer.weights[i] * cells_[opinion.cells[i]].evidence;
  }
  opinion.probability = std::clamp(sigmoid(sum), kProbabilityMin, 1 - kProbabilityMin);
  return opinion;
}

void DraftModel::learn(const ExpertOpinion& opinion, bool followed) {
  const float truth = followed ? 1 : 0;
  Mixer& mixer = mixers_[opinion.mixer];
  mixer.seen += 1;
  const float rate = std::max(kMixerRate, kMixerRateFirst / std::sqrt(mixer.seen));
  const float step = rate * (truth - opinion.probability);
  mixer.bias += step;
  for (std::size_t i = 0; i < kExperts; ++i) {
    if ((opinion.present >> i & 1) == 0) {
      continue;
    }
    Cell& cell = cells_[opinion.cells[i]];
    mixer.weights[i] += step * cell.evidence;
    cell.seen = static_cast<std::uint16_t>(std::min(cell.seen + 1, kCellMemory));
    cell.set(cell.value() + (truth - cell.value()) / static_cast<float>(cell.seen + kCellPrior));
  }
}

}  // namespace coppice::engine
