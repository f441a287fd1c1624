// A biased verifier shows: with drafts on, a million draws follow the target distribution (chi-square), although every
// row of a step draws with a random number of its own that no position ties down.
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "engine/settlement.h"
#include "kernels/cpu/cpu_backend.h"

namespace coppice::engine {
namespace {

constexpr std::int32_t kVocab = 6;
constexpr std::int32_t kSamples = 1'000'000;

// The target: the next token depends on the last one, with likely and unlikely ones.
std::array<std::array<float, kVocab>, kVocab> target_logits() {
  std::array<std::array<float, kVocab>, kVocab> logits{};
  for (std::int32_t last = 0; last < kVocab; ++last) {
    for (std::int32_t next = 0; next < kVocab; ++next) {
      logits[static_cast<std::size_t>(last)][static_cast<std::size_t>(next)] =
          static_cast<float>((last * 5 + next * 3) % 7) * 0.6F;
    }
  }
  return logits;
}

// A million draws leave this statistic above the bound with probability 1e-6 a row when they follow the target.
// Wilson and Hilferty's approximation of the quantile, 5 degrees of freedom.
double chi_square_bound() {
  constexpr double kDegrees = kVocab - 1;
  constexpr double kNormalQuantile = 4.753;
  const double part = 2.0 / (9.0 * kDegrees);
  return kDegrees * std::pow(1 - part + kNormalQuantile * std::sqrt(part), 3);
}

// A tree of guesses that leans to what is likely, sometimes wide, sometimes deep, sometimes empty.
DraftTree guess(std::uint64_t step) {
  DraftTree tree;
  const auto words = base::philox4x32(21, step, 0);
  const auto nodes = static_cast<std::int32_t>(words[0] % 8);
  for (std::int32_t node = 0; node < nodes; ++node) {
    const auto draw = base::philox4x32(22, step, static_cast<std::uint32_t>(node));
    const auto parent = static_cast<std::int32_t>(draw[0] % static_cast<std::uint32_t>(node + 1)) - 1;
    const auto token = static_cast<TokenId>(draw[1] % kVocab);
    bool taken = false;
    for (std::int32_t other = 0; other < tree.size(); ++other) {
      taken = taken || (tree.parents[static_cast<std::size_t>(other)] == parent &&
                        tree.tokens[static_cast<std::size_t>(other)] == token);
    }
    if (!taken) {
      tree.add(token, parent, 0.5F);
    }
  }
  return tree;
}

using Counts = std::array<std::array<std::int64_t, kVocab>, kVocab>;

// The largest chi-square statistic over what can come before a draw.
double worst_statistic(const Counts& counts) {
  const auto logits = target_logits();
  double worst = 0;
  for (std::size_t last = 0; last < kVocab; ++last) {
    double norm = 0;
    for (const float logit : logits[last]) {
      norm += std::exp(static_cast<double>(logit));
    }
    const auto total = static_cast<double>(std::accumulate(counts[last].begin(), counts[last].end(), std::int64_t{0}));
    REQUIRE(total > 1'000);
    double statistic = 0;
    for (std::size_t next = 0; next < kVocab; ++next) {
      const double expected = total * std::exp(static_cast<double>(logits[last][next])) / norm;
      statistic += std::pow(static_cast<double>(counts[last][next]) - expected, 2) / expected;
    }
    worst = std::max(worst, statistic);
  }
  return worst;
}

// Draws with guesses until there are enough; `take` decides which draws of a verified tree are used.
template <typename Take>
Counts draw_with_guesses(std::int32_t samples, Take&& take) {
  auto backend = kernels::cpu::make_cpu_backend({.threads = 1});
  REQUIRE(backend.ok());
  const auto target = target_logits();
  Counts counts{};
  std::vector<float> logits;
  std::vector<kernels::SamplingRow> rows;
  std::vector<kernels::SamplingResult> results;
  std::vector<std::int32_t> path;
  std::size_t last = 0;
  std::uint64_t draws = 0;
  for (std::int32_t done = 0; done < samples;) {
    const DraftTree tree = guess(draws);
    const auto count = static_cast<std::size_t>(tree.size()) + 1;
    logits.clear();
    rows.assign(count, {});
    results.assign(count, {});
    for (std::size_t row = 0; row < count; ++row) {
      const std::size_t context = row == 0 ? last : static_cast<std::size_t>(tree.tokens[row - 1]);
      logits.insert(logits.end(), target[context].begin(), target[context].end());
      rows[row].seed = 99;
      rows[row].position = ++draws;
    }
    const kernels::Matrix matrix{logits.data(), kernels::ComputeType::kF32, static_cast<std::int64_t>(count), kVocab,
                                 kVocab};
    (*backend)->steps().sample(matrix, rows);
    std::ranges::copy((*backend)->steps().finish().draws, results.begin());
    for (const TokenId token : take(tree, results, path)) {
      ++counts[last][static_cast<std::size_t>(token)];
      last = static_cast<std::size_t>(token);
      ++done;
    }
  }
  return counts;
}

TEST_CASE("accepted drafts and the draw after them follow the target distribution", "[settlement]") {
  std::size_t longest = 0;
  const Counts counts =
      draw_with_guesses(kSamples, [&longest](const DraftTree& tree, const std::vector<kernels::SamplingResult>& results,
                                             std::vector<std::int32_t>& path) {
        accept_draft(tree, results, path);
        std::vector<TokenId> tokens = {results[0].token};
        for (const std::int32_t node : path) {
          tokens.push_back(results[static_cast<std::size_t>(node) + 1].token);
        }
        longest = std::max(longest, path.size());
        return tokens;
      });
  CHECK(worst_statistic(counts) < chi_square_bound());
  CHECK(longest >= 4);
}

TEST_CASE("the test notices a verifier that keeps a guess too often", "[settlement]") {
  const Counts counts = draw_with_guesses(
      kSamples / 5,
      [](const DraftTree& tree, const std::vector<kernels::SamplingResult>& results, std::vector<std::int32_t>& path) {
        accept_draft(tree, results, path);
        std::vector<TokenId> tokens = {results[0].token};
        if (path.empty() && tree.size() > 0 && results[1].token % 3 == 0) {
          tokens[0] = tree.tokens[0];
        }
        return tokens;
      });
  CHECK(worst_statistic(counts) > chi_square_bound());
}

}  // namespace
}  // namespace coppice::engine
