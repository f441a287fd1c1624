// The steps of sampling over one row; the loops over the vocabulary are sample_body.cc.
#include "kernels/cpu/sample.h"

#include <omp.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>

#include "base/check.h"
#include "kernels/cpu/sample_body.h"
#include "kernels/host/parallel.h"

namespace coppice::kernels::cpu {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();  // a logit that is never drawn, negated
constexpr float kTemperatureMax = 1e30F;  // an infinite one would turn -infinity / t into NaN
constexpr float kMassUnit = 0x1.0p40F;    // masses are whole numbers of 2^-40: see the header

// A row of logits and the loops for it.
struct Row {
  std::span<float> logits;
  const SampleBody& body;
};

// The first tokens in descending order of key: every larger key, and the first `ties` tokens of this key.
struct Cut {
  std::uint32_t key = 0;
  std::uint64_t ties = std::numeric_limits<std::uint64_t>::max();
};

// Order-preserving and never 0; -0 and +0 are one number.
std::uint32_t key_of_logit(float logit) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(logit + 0.0F);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

// A weight is in (0, 1]: its bits are its key.
std::uint64_t mass_of_key(std::uint32_t key) {
  return static_cast<std::uint64_t>(std::bit_cast<float>(key) * kMassUnit);
}

// Returns the shortest prefix of the candidates, in descending order of key, whose measures add up to `target` or more
// (all of them if they never do). Radix selection: three counts over 11, 11 and 10 bits of the key, no sort.
template <typename Measure>
Cut cut_prefix(SampleScratch& scratch, std::uint64_t target, const Measure& measure) {
  struct Digit {
    int shift;
    std::uint32_t mask;
  };
  constexpr Digit kDigits[] = {{21, 0x7FF}, {10, 0x7FF}, {0, 0x3FF}};
  std::uint64_t above = 0;
  std::uint32_t prefix = 0;
  std::uint32_t prefix_mask = 0;
  for (const Digit& digit : kDigits) {
    scratch.histogram.assign(digit.mask + 1, 0);
    for (const SampleCandidate& candidate : scratch.candidates) {
      if ((candidate.key & prefix_mask) == prefix) {
        scratch.histogram[candidate.key >> digit.shift & digit.mask] += measure(candidate.key);
      }
    }
    std::uint32_t bucket = digit.mask;
    while (bucket > 0 && above + scratch.histogram[bucket] < target) {
      above += scratch.histogram[bucket];
      --bucket;
    }
    prefix |= bucket << digit.shift;
    prefix_mask |= digit.mask << digit.shift;
  }
  const std::uint64_t one = measure(prefix);
  if (one == 0) {
    return {.key = prefix};
  }
  return {.key = prefix, .ties = (target - above + one - 1) / one};
}

bool in_range(TokenId token, std::span<const float> logits) {
  return token >= 0 && static_cast<std::size_t>(token) < logits.size();
}

bool is_allowed(const SamplingRow& request, TokenId token) {
  const auto index = static_cast<std::size_t>(token);
  return request.allowed.empty() ||
         (index / 32 < request.allowed.size() && (request.allowed[index / 32] >> (index % 32) & 1U) != 0);
}

bool has_edits(const SamplingRow& request) {
  return !request.biases.empty() || !request.counts.empty() || !request.forbidden.empty() || !request.allowed.empty();
}

// Applies bias, penalties, forbidden tokens and the mask.
void edit(const SamplingRow& request, const Row& row) {
  const std::span<float> logits = row.logits;
  for (const TokenBias& bias : request.biases) {
    if (in_range(bias.token, logits)) {
      logits[static_cast<std::size_t>(bias.token)] += bias.bias;
    }
  }
  for (const TokenCount& count : request.counts) {
    if (!in_range(count.token, logits)) {
      continue;
    }
    float& logit = logits[static_cast<std::size_t>(count.token)];
    logit = logit > 0 ? logit / request.repetition_penalty : logit * request.repetition_penalty;
    if (count.output_count > 0) {
      logit -= request.presence_penalty + request.frequency_penalty * static_cast<float>(count.output_count);
    }
  }
  for (const TokenId token : request.forbidden) {
    if (in_range(token, logits)) {
      logits[static_cast<std::size_t>(token)] = -kInfinity;
    }
  }
  if (!request.allowed.empty()) {
    row.body.keep_allowed(logits.data(), std::ssize(logits), request.allowed.data(), std::ssize(request.allowed));
  }
}

TokenId last_resort(const SamplingRow& request, std::int64_t vocab) {
  for (TokenId token = 0; token < vocab; ++token) {
    if (is_allowed(request, token) &&
        std::find(request.forbidden.begin(), request.forbidden.end(), token) == request.forbidden.end()) {
      return token;
    }
  }
  return 0;
}

void keep_top_k(const SamplingRow& request, const Row& row, SampleScratch& scratch) {
  scratch.candidates.clear();
  for (std::size_t i = 0; i < row.logits.size(); ++i) {
    if (std::isfinite(row.logits[i])) {
      scratch.candidates.push_back({key_of_logit(row.logits[i]), static_cast<TokenId>(i)});
    }
  }
  const Cut cut =
      cut_prefix(scratch, static_cast<std::uint64_t>(request.top_k), [](std::uint32_t) { return std::uint64_t{1}; });
  std::uint64_t ties = cut.ties;
  for (const SampleCandidate& candidate : scratch.candidates) {
    if (candidate.key > cut.key) {
      continue;
    }
    if (candidate.key == cut.key && ties > 0) {
      --ties;
      continue;
    }
    scratch.weights[static_cast<std::size_t>(candidate.token)] = 0;
  }
}

// Returns the smallest weight that stays, and zeroes the equal ones that do not.
float keep_top_p(const SamplingRow& request, const Row& row, SampleScratch& scratch) {
  const std::span<float> weights = scratch.weights;
  const std::uint64_t total = row.body.total_mass(weights.data(), std::ssize(weights));
  const double wanted = std::ceil(static_cast<double>(std::max(0.0F, request.top_p)) * static_cast<double>(total));
  const std::uint64_t target = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1, total);
  // Together, tokens lighter than this weigh no more than what may be dropped, so none of them is in the prefix.
  const std::uint64_t light = std::max<std::uint64_t>(1, (total - target) / weights.size());
  const float weight_light = static_cast<float>(light) / kMassUnit * (1.0F - 0x1.0p-20F);
  scratch.candidates.clear();
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] >= weight_light) {
      scratch.candidates.push_back({std::bit_cast<std::uint32_t>(weights[i]), static_cast<TokenId>(i)});
    }
  }
  const Cut cut = cut_prefix(scratch, target, mass_of_key);
  std::uint64_t ties = cut.ties;
  for (const SampleCandidate& candidate : scratch.candidates) {
    if (candidate.key == cut.key) {
      if (ties > 0) {
        --ties;
      } else {
        weights[static_cast<std::size_t>(candidate.token)] = 0;
      }
    }
  }
  return std::bit_cast<float>(cut.key);
}

// Nothing: the row is broken.
std::optional<TokenId> draw(const SamplingRow& request, const Row& row, SampleScratch& scratch) {
  const std::int64_t vocab = std::ssize(row.logits);
  const float largest = row.body.largest(row.logits.data(), vocab);
  if (std::isnan(largest)) {
    return std::nullopt;
  }
  if (largest == -kInfinity) {
    return last_resort(request, vocab);
  }
  const auto greedy = static_cast<TokenId>(row.body.find(row.logits.data(), vocab, largest));
  if (!(request.temperature > 0) || request.top_k == 1) {
    return greedy;
  }
  scratch.weights.resize(row.logits.size());
  row.body.weights(row.logits.data(), vocab, largest, std::min(request.temperature, kTemperatureMax),
                   scratch.weights.data());
  if (request.top_k > 0 && request.top_k < vocab) {
    keep_top_k(request, row, scratch);
  }
  RaceDraw race{.seed = request.seed, .position = request.position, .weight_min = std::min(request.min_p, 1.0F)};
  if (request.top_p < 1.0F) {
    race.weight_min = std::max(race.weight_min, keep_top_p(request, row, scratch));
  }
  const std::int64_t winner = row.body.race(scratch.weights.data(), vocab, race);
  return winner >= 0 ? static_cast<TokenId>(winner) : greedy;
}

// log-softmax of one logit. largest: of the row; sum: of e^(x - largest).
float logprob_of(float logit, float largest, float sum) {
  if (!std::isfinite(logit) || !std::isfinite(largest)) {
    return kLogprobMin;
  }
  const double logprob = static_cast<double>(logit) - largest - std::log(static_cast<double>(sum));
  return static_cast<float>(std::max<double>(logprob, kLogprobMin));
}

// Returns the `count` most likely tokens of raw logits, with logits in place of logprobs.
std::vector<TokenLogprob> most_likely(std::span<const float> logits, std::size_t count) {
  const auto before = [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
  };
  std::vector<TokenLogprob> heap;  // the least likely of them on top
  heap.reserve(count + 1);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (heap.size() == count && !(logits[i] > heap.front().logprob)) {
      continue;  // also an equal one: its id is higher
    }
    const float logit = std::isfinite(logits[i]) ? logits[i] : -kInfinity;
    if (heap.size() == count && !(logit > heap.front().logprob)) {
      continue;
    }
    heap.push_back({static_cast<TokenId>(i), logit});
    std::push_heap(heap.begin(), heap.end(), before);
    if (heap.size() > count) {
      std::pop_heap(heap.begin(), heap.end(), before);
      heap.pop_back();
    }
  }
  std::sort_heap(heap.begin(), heap.end(), before);
  return heap;
}

void report_logprobs(const SamplingRow& request, const Row& row, SamplingResult& result) {
  const std::int64_t vocab = std::ssize(row.logits);
  const float largest = row.body.largest(row.logits.data(), vocab);
  if (std::isnan(largest)) {
    result.is_broken = true;
    return;
  }
  const float sum = row.body.sum_exponentials(row.logits.data(), vocab, largest);
  const float logit = row.logits[static_cast<std::size_t>(result.token)];
  result.logprob = logprob_of(logit, largest, sum);
  const auto top_count = std::min<std::int64_t>(std::max(0, request.top_logprobs), vocab);
  if (top_count > 0) {
    result.top = most_likely(row.logits, static_cast<std::size_t>(top_count));
    for (TokenLogprob& entry : result.top) {
      entry.logprob = logprob_of(entry.logprob, largest, sum);
    }
  }
  for (const TokenId label : request.labels) {
    result.labels.push_back(logprob_of(row.logits[static_cast<std::size_t>(label)], largest, sum));
  }
}

void sample_row(const SamplingRow& request, const Row& row, SampleScratch& scratch, SamplingResult& result) {
  const bool wants_logprobs = request.top_logprobs >= 0 || request.scored >= 0 || !request.labels.empty();
  std::optional<TokenId> token;
  if (request.scored >= 0) {
    token = request.scored;
  } else if (has_edits(request) && wants_logprobs) {
    // Logprobs are of the model's own logits: the edits go to a copy.
    scratch.logits.assign(row.logits.begin(), row.logits.end());
    const Row copy{.logits = scratch.logits, .body = row.body};
    edit(request, copy);
    token = draw(request, copy, scratch);
  } else {
    edit(request, row);
    token = draw(request, row, scratch);
  }
  result = SamplingResult();
  result.token = token.value_or(0);
  result.is_broken = !token.has_value();
  if (wants_logprobs && !result.is_broken) {
    report_logprobs(request, row, result);
    result.token = result.is_broken ? 0 : result.token;
  }
}

}  // namespace

CpuSampler::CpuSampler(const CpuContext& context)
    : context_(context), scratch_(static_cast<std::size_t>(context.threads)) {}

void CpuSampler::sample(const Matrix& logits, std::span<const SamplingRow> rows, std::span<SamplingResult> results) {
  const SampleBody& body = COPPICE_SELECT_BODY(context_.isa, sample_body);
  for (const SamplingRow& row : rows) {
    COPPICE_CHECK(row.scored < logits.columns, "sample: the scored token is beyond the vocabulary");
    COPPICE_CHECK(std::ranges::all_of(row.labels, [&](TokenId label) { return label >= 0 && label < logits.columns; }),
                  "sample: a label is beyond the vocabulary");
  }
  parallel_rows(context_.threads, logits.rows, logits.columns * std::int64_t{sizeof(float)},
                [&](std::int64_t begin, std::int64_t end) {
                  SampleScratch& scratch = scratch_[static_cast<std::size_t>(omp_get_thread_num())];
                  for (std::int64_t i = begin; i < end; ++i) {
                    float* values = static_cast<float*>(logits.data) + i * logits.stride;
                    const Row row{.logits = {values, static_cast<std::size_t>(logits.columns)}, .body = body};
                    sample_row(rows[static_cast<std::size_t>(i)], row, scratch, results[static_cast<std::size_t>(i)]);
                  }
                });
}

}  // namespace coppice::kernels::cpu
