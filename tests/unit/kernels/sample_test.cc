// Sampling against a reference in float64 that sorts, and the draws against the reference's distribution (chi-square).
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <numeric>
#include <set>

#include "base/random.h"
#include "kernel_support.h"
#include "kernels/cpu/sample.h"
#include "kernels/cpu/sample_body.h"

namespace coppice::kernels::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(std::size_t vocab, std::uint32_t seed, float spread = 3.0F) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, spread);
  std::vector<float> logits(vocab);
  for (float& logit : logits) {
    logit = normal(generator);
  }
  return logits;
}

SamplingResult sample_one(Backend& backend, std::vector<float> logits, const SamplingRow& row) {
  const auto vocab = static_cast<std::int64_t>(logits.size());
  return sample(backend, {logits.data(), ComputeType::kF32, 1, vocab, vocab}, {&row, 1}).front();
}

// The definition (kernels/sampling.h, kernels/cpu/sample.h): probabilities of all tokens, in float64, by sorting.
std::vector<double> reference_distribution(const std::vector<float>& logits, const SamplingRow& row) {
  std::vector<double> x(logits.begin(), logits.end());
  for (const TokenBias& bias : row.biases) {
    x[static_cast<std::size_t>(bias.token)] += bias.bias;
  }
  for (const TokenCount& count : row.counts) {
    double& logit = x[static_cast<std::size_t>(count.token)];
    logit = logit > 0 ? logit / row.repetition_penalty : logit * row.repetition_penalty;
    logit -= count.output_count > 0 ? row.presence_penalty + double{row.frequency_penalty} * count.output_count : 0.0;
  }
  for (const TokenId token : row.forbidden) {
    x[static_cast<std::size_t>(token)] = -INFINITY;
  }
  for (std::size_t i = 0; !row.allowed.empty() && i < x.size(); ++i) {
    if ((row.allowed[i / 32] >> (i % 32) & 1U) == 0) {
      x[i] = -INFINITY;
    }
  }
  std::vector<std::size_t> order(x.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return x[a] > x[b]; });
  std::vector<double> weights(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    weights[i] = std::exp((x[i] - x[order.front()]) / row.temperature);
  }
  std::size_t kept = row.top_k > 0 ? std::min<std::size_t>(static_cast<std::size_t>(row.top_k), x.size()) : x.size();
  const auto sum_of_first = [&](std::size_t count) {
    return std::accumulate(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), 0.0,
                           [&](double sum, std::size_t i) { return sum + weights[i]; });
  };
  if (row.top_p < 1.0F) {
    const double wanted = double{row.top_p} * sum_of_first(kept);
    std::size_t count = 1;
    while (count < kept && sum_of_first(count) < wanted) {
      ++count;
    }
    kept = count;
  }
  std::vector<double> distribution(x.size(), 0.0);
  for (std::size_t i = 0; i < kept; ++i) {
    distribution[order[i]] = weights[order[i]] >= row.min_p ? weights[order[i]] : 0.0;
  }
  const double total = std::accumulate(distribution.begin(), distribution.end(), 0.0);
  for (double& probability : distribution) {
    probability /= total;
  }
  return distribution;
}

// Draws at positions 0 … draws - 1; fails when a token of probability 0 appears. Returns chi-square in units of its
// standard deviation above its mean, cells with small expectations merged.
double chi_square_sigmas(Backend& backend, const std::vector<float>& logits, SamplingRow row, int draws) {
  const std::vector<double> expected = reference_distribution(logits, row);
  const auto vocab = static_cast<std::int64_t>(logits.size());
  constexpr int kBatch = 100;
  std::vector<int> counts(logits.size(), 0);
  for (int done = 0; done < draws; done += kBatch) {
    std::vector<float> batch;
    std::vector<SamplingRow> rows;
    for (int i = 0; i < kBatch; ++i) {
      batch.insert(batch.end(), logits.begin(), logits.end());
      row.position = static_cast<std::uint64_t>(done + i);
      rows.push_back(row);
    }
    for (const SamplingResult& result :
         sample(backend, {batch.data(), ComputeType::kF32, kBatch, vocab, vocab}, rows)) {
      ++counts[static_cast<std::size_t>(result.token)];
    }
  }
  double chi_square = 0;
  int cells = 0;
  double small_expected = 0;
  double small_count = 0;
  const auto add_cell = [&](double mean, double count) {
    chi_square += (count - mean) * (count - mean) / mean;
    ++cells;
  };
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] == 0.0) {
      CHECK(counts[i] == 0);
    } else if (expected[i] * draws >= 10) {
      add_cell(expected[i] * draws, counts[i]);
    } else {
      small_expected += expected[i] * draws;
      small_count += counts[i];
    }
  }
  if (small_expected >= 10) {
    add_cell(small_expected, small_count);
  }
  return cells > 1 ? (chi_square - (cells - 1)) / std::sqrt(2.0 * (cells - 1)) : 0.0;
}

TEST_CASE("draws follow the reference distribution, for each filter and all together", "[sample]") {
  const std::vector<float> logits = random_logits(200, 1, 1.5F);
  const TokenBias biases[] = {{3, 2.0F}, {150, -4.0F}, {9, 1.0F}};
  const TokenCount counts[] = {{3, 2}, {4, 0}, {77, 1}, {150, 7}};
  const TokenId forbidden[] = {0, 9, 199};
  std::vector<std::uint32_t> allowed(7, 0xF7F7F7F5U);
  std::map<std::string, SamplingRow> cases;
  cases["plain"] = {};
  cases["temperature 0.5"].temperature = 0.5F;
  cases["temperature 3"].temperature = 3.0F;
  cases["top-k"].top_k = 12;
  cases["top-p"].top_p = 0.6F;
  cases["min-p"].min_p = 0.1F;
  cases["bias"].biases = biases;
  cases["forbidden"].forbidden = forbidden;
  cases["allowed"].allowed = allowed;
  SamplingRow penalties;
  penalties.counts = counts;
  penalties.repetition_penalty = 1.5F;
  penalties.presence_penalty = 0.7F;
  penalties.frequency_penalty = 0.3F;
  cases["penalties"] = penalties;
  SamplingRow all = penalties;
  all.temperature = 0.9F;
  all.top_k = 60;
  all.top_p = 0.9F;
  all.min_p = 0.03F;
  all.biases = biases;
  all.forbidden = forbidden;
  all.allowed = allowed;
  cases["all"] = all;
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(2, isa);
    for (auto& [name, row] : cases) {
      row.seed = 1234;
      const double sigmas = chi_square_sigmas(*backend, logits, row, 10000);
      INFO(name << " on " << cpu::isa_name(isa) << ": " << sigmas);
      CHECK(sigmas < 4.0);
      CHECK(sigmas > -4.0);
    }
  }
}

TEST_CASE("a large flat vocabulary and a steep one are drawn right", "[sample]") {
  const auto backend = make_backend(2);
  std::vector<float> flat(2000, 1.25F);
  SamplingRow row;
  row.seed = 5;
  CHECK(std::abs(chi_square_sigmas(*backend, flat, row, 40000)) < 4.0);
  // 0.9, then a thousand tokens that share 0.1: rare winners must come from small E's, evenly.
  std::vector<float> steep(1001, 0.0F);
  steep[0] = std::log(9000.0F);
  CHECK(std::abs(chi_square_sigmas(*backend, steep, row, 60000)) < 4.0);
}

TEST_CASE("which tokens a filter keeps is exactly the reference's choice", "[sample]") {
  // The kept set is read from many draws at a high temperature, where every kept token appears.
  std::mt19937 generator(3);
  const auto backend = make_backend(1);
  for (int trial = 0; trial < 60; ++trial) {
    const std::size_t vocab = 5 + generator() % 40;
    std::vector<float> logits = random_logits(vocab, static_cast<std::uint32_t>(trial), 0.7F);
    for (std::size_t i = 0; trial % 3 == 0 && i < vocab; ++i) {
      logits[i] = std::round(logits[i] * 2.0F) / 2.0F;  // many ties
    }
    SamplingRow row;
    row.temperature = 1.0F;
    row.top_k = trial % 2 == 0 ? static_cast<std::int32_t>(generator() % (vocab + 3)) : 0;
    row.top_p = trial % 5 < 3 ? 0.05F + 0.9F * static_cast<float>(generator() % 1000) / 1000.0F : 1.0F;
    row.min_p = trial % 4 == 0 ? 0.3F : 0.0F;
    row.seed = static_cast<std::uint64_t>(trial);
    const std::vector<double> expected = reference_distribution(logits, row);
    std::set<TokenId> kept;
    for (std::uint64_t position = 0; position < 4000; ++position) {
      row.position = position;
      kept.insert(sample_one(*backend, logits, row).token);
    }
    for (std::size_t i = 0; i < vocab; ++i) {
      INFO("trial " << trial << " token " << i << " probability " << expected[i]);
      CHECK(kept.contains(static_cast<TokenId>(i)) == (expected[i] > 0));
    }
  }
}

TEST_CASE("top-k and top-p agree with a sort on large vocabularies", "[sample]") {
  // With temperature so high that all kept tokens are equally likely, the draw covers the kept set.
  const auto backend = make_backend(2);
  for (const std::size_t vocab : {1000U, 32000U, 130001U}) {
    const std::vector<float> logits = random_logits(vocab, 7, 2.0F);
    for (const auto& [top_k, top_p] :
         std::vector<std::pair<int, float>>{{40, 1.0F}, {0, 0.5F}, {100, 0.8F}, {0, 0.0F}}) {
      SamplingRow row;
      row.top_k = top_k;
      row.top_p = top_p;
      const std::vector<double> expected = reference_distribution(logits, row);
      for (std::uint64_t position = 0; position < 200; ++position) {
        row.position = position;
        CHECK(expected[static_cast<std::size_t>(sample_one(*backend, logits, row).token)] > 0);
      }
    }
  }
}

TEST_CASE("greedy is the largest logit and the lowest id among equals", "[sample]") {
  const auto backend = make_backend(1);
  SamplingRow row;
  row.temperature = 0;
  std::vector<float> logits = random_logits(777, 1);
  logits[700] = logits[13] = logits[400] = 50.0F;
  CHECK(sample_one(*backend, logits, row).token == 13);
  logits[13] = -0.0F;
  CHECK(sample_one(*backend, logits, row).token == 400);
  CHECK(sample_one(*backend, {0.0F, -0.0F, 0.0F}, row).token == 0);
  row.temperature = 1e-30F;  // as good as greedy, and no NaN
  CHECK(sample_one(*backend, logits, row).token != 13);
  row.temperature = 1.0F;
  row.top_k = 1;
  CHECK(sample_one(*backend, logits, row).token == 400);
}

TEST_CASE("the draw depends on seed and position alone", "[sample][bits]") {
  const std::size_t vocab = 3000;
  SamplingRow row;
  row.seed = 77;
  row.temperature = 0.8F;
  row.top_p = 0.95F;
  const std::vector<float> logits = random_logits(vocab, 4);
  std::vector<TokenId> alone;
  {
    const auto backend = make_backend(1);
    for (std::uint64_t position = 0; position < 64; ++position) {
      row.position = position;
      alone.push_back(sample_one(*backend, logits, row).token);
    }
  }
  CHECK(std::set<TokenId>(alone.begin(), alone.end()).size() > 8);
  for (const int threads : {1, 2, 8}) {
    const auto backend = make_backend(threads);
    std::vector<float> batch;
    std::vector<SamplingRow> rows;
    for (std::uint64_t i = 0; i < 64; ++i) {
      row.position = 63 - i;
      rows.push_back(row);
      batch.insert(batch.end(), logits.begin(), logits.end());
    }
    const auto columns = static_cast<std::int64_t>(vocab);
    const std::vector<SamplingResult> results =
        sample(*backend, {batch.data(), ComputeType::kF32, 64, columns, columns}, rows);
    for (std::size_t i = 0; i < 64; ++i) {
      CHECK(results[i].token == alone[63 - i]);
    }
  }
}

TEST_CASE("the race draws with the words of base::philox4x32, the same on every instruction set", "[sample][bits]") {
  // Two tokens of equal weight: the smaller uniform has the smaller E and wins.
  for (const cpu::Isa isa : runnable_isas()) {
    const cpu::SampleBody& body = COPPICE_SELECT_BODY(isa, sample_body);
    for (std::uint64_t position = 0; position < 500; ++position) {
      const std::uint64_t seed = 0x123456789ABCDEF0ULL * (position + 1);
      std::vector<float> weights(300, 0.0F);
      const auto a = static_cast<std::size_t>(position % 300);
      const auto b = static_cast<std::size_t>(position * 7 % 300);
      weights[a] = weights[b] = 1.0F;
      const auto word = [&](std::size_t token) {
        return base::philox4x32(seed, position << 20, (std::uint64_t{1} << 32) + token / 4)[token % 4];
      };
      const std::size_t expected = word(a) == word(b) ? std::min(a, b) : word(a) < word(b) ? a : b;
      CHECK(body.race(weights.data(), 300, {.seed = seed, .position = position << 20, .weight_min = 0}) ==
            static_cast<std::int64_t>(expected));
    }
  }
}

TEST_CASE("logprobs are log-softmax of the raw logits; top orders ties by id", "[sample]") {
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(1, isa);
    for (const std::size_t vocab : {1U, 5U, 105U, 32000U}) {
      std::vector<float> logits = random_logits(vocab, 9, 4.0F);
      if (vocab >= 105) {
        logits[50] = logits[20];
        logits[7] = -kInfinity;
      }
      double sum = 0;
      for (const float logit : logits) {
        sum += std::exp(double{logit});
      }
      std::vector<std::size_t> order(vocab);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
      const TokenBias bias[] = {{0, 100.0F}};
      SamplingRow row;
      row.temperature = 0.3F;
      row.biases = bias;  // moves the draw, not the logprobs
      row.top_logprobs = 20;
      const SamplingResult result = sample_one(*backend, logits, row);
      CHECK(result.token == 0);
      CHECK(std::abs(result.logprob - (logits[0] - std::log(sum))) < 2e-6 * (1 + std::abs(result.logprob)));
      REQUIRE(result.top.size() == std::min<std::size_t>(20, vocab));
      for (std::size_t i = 0; i < result.top.size(); ++i) {
        CHECK(result.top[i].token == static_cast<TokenId>(order[i]));
        const double expected = logits[order[i]] - std::log(sum);
        CHECK(std::abs(result.top[i].logprob - expected) < 2e-6 * (1 + std::abs(expected)));
      }
      SamplingRow scored;
      scored.scored = static_cast<TokenId>(vocab - 1);
      const SamplingResult score = sample_one(*backend, logits, scored);
      CHECK(score.token == scored.scored);
      CHECK(std::abs(score.logprob - (logits[vocab - 1] - std::log(sum))) < 2e-6 * (1 + std::abs(score.logprob)));
      CHECK(score.top.empty());
    }
  }
}

TEST_CASE("labels are reported in their order, whatever else a row asks for, and change nothing else", "[sample]") {
  const std::vector<float> logits = random_logits(1000, 12, 4.0F);
  const std::vector<TokenId> labels = {999, 3, 0, 3};
  const std::vector<TokenId> forbidden = {3};
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(double{logit});
  }
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(1, isa);
    for (const bool is_scored : {false, true}) {
      for (const std::int32_t top : {-1, 0, 5}) {
        SamplingRow row;
        row.temperature = 0.8F;
        row.top_logprobs = top;
        row.scored = is_scored ? 17 : -1;
        row.forbidden = forbidden;
        const SamplingResult without = sample_one(*backend, logits, row);
        row.labels = labels;
        const SamplingResult with = sample_one(*backend, logits, row);
        CHECK(without.labels.empty());
        CHECK(with.token == without.token);
        CHECK(with.top.size() == without.top.size());
        REQUIRE(with.labels.size() == labels.size());
        for (std::size_t i = 0; i < labels.size(); ++i) {
          const double expected = logits[static_cast<std::size_t>(labels[i])] - std::log(sum);
          CHECK(std::abs(with.labels[i] - expected) < 2e-6 * (1 + std::abs(expected)));
        }
      }
    }
  }
}

TEST_CASE("without a request for logprobs none are reported", "[sample]") {
  const auto backend = make_backend(1);
  const SamplingResult result = sample_one(*backend, random_logits(50, 1), SamplingRow());
  CHECK(result.logprob == 0.0F);
  CHECK(result.top.empty());
  CHECK(result.labels.empty());
}

TEST_CASE("a row with a logit that is NaN or infinite is broken, wherever it stands; -infinity is no fault",
          "[sample]") {
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(1, isa);
    for (const std::size_t vocab : {1U, 16U, 63U, 64U, 65U, 200U}) {
      for (std::size_t at = 0; at < vocab; ++at) {
        for (const float value : {NAN, -NAN, kInfinity, -kInfinity, 3.4e38F}) {
          std::vector<float> logits = random_logits(vocab, static_cast<std::uint32_t>(at));
          logits[at] = value;
          SamplingRow row;
          row.temperature = at % 2 == 0 ? 1.0F : 0.0F;
          row.top_logprobs = at % 3 == 0 ? 2 : -1;
          row.scored = at % 6 == 0 ? 0 : -1;
          const SamplingResult result = sample_one(*backend, logits, row);
          CHECK(result.is_broken == (std::isnan(value) || value == kInfinity));
          if (result.is_broken) {
            CHECK(result.token == 0);
            CHECK(result.top.empty());
          }
        }
      }
    }
    // What the mask or a list rules out cannot be drawn, so it does not matter what it is.
    const std::vector<std::uint32_t> allowed = {0x6U};
    const std::vector<float> logits = {NAN, 1.0F, 2.0F, NAN};
    SamplingRow row;
    row.temperature = 0;
    row.allowed = allowed;
    CHECK_FALSE(sample_one(*backend, logits, row).is_broken);
    CHECK(sample_one(*backend, logits, row).token == 2);
  }
}

TEST_CASE("logits that are -infinity are never drawn, huge ones never crash", "[sample]") {
  std::mt19937 generator(11);
  for (const cpu::Isa isa : runnable_isas()) {
    const auto backend = make_backend(1, isa);
    for (int trial = 0; trial < 300; ++trial) {
      const std::size_t vocab = 1 + generator() % 150;
      std::vector<float> logits = random_logits(vocab, static_cast<std::uint32_t>(trial));
      bool any_finite = false;
      for (float& logit : logits) {
        const auto kind = generator() % 6;
        logit = kind == 0 ? -3e38F : kind == 2 ? -kInfinity : kind == 3 ? 3e38F : logit;
        logit = trial % 10 == 0 ? -kInfinity : logit;
        any_finite |= std::isfinite(logit);
      }
      SamplingRow row;
      row.temperature = trial % 3 == 0 ? 0.0F : 1.0F;
      row.top_k = trial % 4;
      row.top_p = trial % 2 == 0 ? 0.7F : 1.0F;
      row.min_p = trial % 5 == 0 ? 1.0F : 0.0F;
      row.top_logprobs = 5;
      row.position = static_cast<std::uint64_t>(trial);
      const SamplingResult result = sample_one(*backend, logits, row);
      REQUIRE(result.token >= 0);
      REQUIRE(static_cast<std::size_t>(result.token) < vocab);
      CHECK(std::isfinite(logits[static_cast<std::size_t>(result.token)]) == any_finite);
      CHECK(std::isfinite(result.logprob));
      for (const TokenLogprob& entry : result.top) {
        CHECK(std::isfinite(entry.logprob));
      }
    }
  }
}

TEST_CASE("with nothing left to draw, the lowest token that the request allows", "[sample]") {
  const auto backend = make_backend(1);
  const std::vector<float> none(70, -kInfinity);
  SamplingRow row;
  CHECK(sample_one(*backend, none, row).token == 0);
  const std::vector<std::uint32_t> allowed = {0, 0x28U};  // 35 and 37
  row.allowed = allowed;
  CHECK(sample_one(*backend, none, row).token == 35);
  const TokenId forbidden[] = {35};
  row.forbidden = forbidden;
  CHECK(sample_one(*backend, none, row).token == 37);
  const TokenId both[] = {35, 37};
  row.forbidden = both;
  CHECK(sample_one(*backend, random_logits(70, 1), row).token == 0);
}

TEST_CASE("token ids beyond the vocabulary and a short mask do no harm", "[sample]") {
  const auto backend = make_backend(1);
  const TokenBias biases[] = {{-1, 5.0F}, {100, 5.0F}, {2147483647, 5.0F}};
  const TokenCount counts[] = {{-7, 1}, {100, 1}};
  const TokenId forbidden[] = {-1, 100, 2147483647};
  const std::vector<std::uint32_t> allowed = {0x10U};  // tokens from 32 on are not allowed
  SamplingRow row;
  row.biases = biases;
  row.counts = counts;
  row.forbidden = forbidden;
  row.allowed = allowed;
  CHECK(sample_one(*backend, random_logits(100, 1), row).token == 4);
}

TEST_CASE("extreme parameters stay in the vocabulary", "[sample]") {
  const auto backend = make_backend(1);
  const std::vector<float> logits = random_logits(100, 2);
  const TokenCount counts[] = {{1, 1000000}, {2, 1}};
  for (const float extreme : {0.0F, 1e-38F, 1e-45F, 1e30F, 3e38F, kInfinity, -1.0F, NAN}) {
    SamplingRow row;
    row.temperature = extreme;
    row.counts = counts;
    row.repetition_penalty = extreme;
    row.frequency_penalty = extreme;
    row.top_p = extreme;
    row.min_p = extreme;
    const TokenId token = sample_one(*backend, logits, row).token;
    CHECK(token >= 0);
    CHECK(token < 100);
  }
}

}  // namespace
}  // namespace coppice::kernels::test
