// Sampling requests to plain arrays, and plain answers to results.
#include "kernels/cuda/sampling/pack.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"

namespace coppice::kernels::cuda {

namespace {

bool in_range(TokenId token, std::int64_t vocab) {
  return token >= 0 && token < vocab;
}

// log-softmax of one logit.
float logprob_of(float logit, float largest, float sum) {
  if (!std::isfinite(logit) || !std::isfinite(largest)) {
    return kLogprobMin;
  }
  const double logprob = static_cast<double>(logit) - largest - std::log(static_cast<double>(sum));
  return static_cast<float>(std::max<double>(logprob, kLogprobMin));
}

}  // namespace

void PackedSampling::pack(std::span<const SamplingRow> requests, std::int64_t vocab) {
  rows.clear();
  edits.clear();
  allowed.clear();
  labels.clear();
  top_capacity = 0;
  const auto edit_count = [this] { return static_cast<std::int32_t>(edits.size()); };
  for (const SamplingRow& request : requests) {
    COPPICE_CHECK(request.scored < vocab, "sample: the scored token is beyond the vocabulary");
    COPPICE_CHECK(request.top_logprobs <= kSampleTopMax, "sample: too many logprobs wanted");
    SampleRow& row = rows.emplace_back();
    static_cast<base::SamplingNumbers&>(row) = request;
    row.seed = request.seed;
    row.position = request.position;
    row.top_logprobs = request.top_logprobs;
    row.scored = request.scored;
    row.biases_begin = edit_count();
    row.allowed_begin = static_cast<std::int32_t>(allowed.size());
    row.allowed_words = request.allowed.empty() ? -1 : static_cast<std::int32_t>(request.allowed.size());
    top_capacity = std::max(top_capacity, request.top_logprobs);
    for (const TokenBias& bias : request.biases) {
      if (in_range(bias.token, vocab)) {
        edits.push_back({bias.token, std::bit_cast<std::int32_t>(bias.bias)});
      }
    }
    row.counts_begin = edit_count();
    for (const TokenCount& count : request.counts) {
      if (in_range(count.token, vocab)) {
        edits.push_back({count.token, count.output_count});
      }
    }
    row.forbidden_begin = edit_count();
    for (const TokenId token : request.forbidden) {
      if (in_range(token, vocab)) {
        edits.push_back({token, 0});
      }
    }
    row.edits_end = edit_count();
    allowed.insert(allowed.end(), request.allowed.begin(), request.allowed.end());
    row.labels_begin = static_cast<std::int32_t>(labels.size());
    COPPICE_CHECK(std::ranges::all_of(request.labels, [&](TokenId label) { return in_range(label, vocab); }),
                  "sample: a label is beyond the vocabulary");
    labels.insert(labels.end(), request.labels.begin(), request.labels.end());
    row.labels_end = static_cast<std::int32_t>(labels.size());
  }
}

SamplingResult unpack_sample(const SamplingRow& request, const SampleAnswer& answer, const SampleLists& lists) {
  SamplingResult result;
  if (answer.token < 0) {
    result.is_broken = true;
    return result;
  }
  result.token = answer.token;
  if (request.top_logprobs < 0 && request.scored < 0 && request.labels.empty()) {
    return result;
  }
  result.logprob = logprob_of(answer.logit, answer.largest, answer.sum);
  std::ranges::sort(lists.tops, [](const SampleTop& a, const SampleTop& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  });
  for (const SampleTop& top : lists.tops) {
    result.top.push_back({top.token, logprob_of(top.logit, answer.largest, answer.sum)});
  }
  for (const float logit : lists.labels) {
    result.labels.push_back(logprob_of(logit, answer.largest, answer.sum));
  }
  return result;
}

}  // namespace coppice::kernels::cuda
