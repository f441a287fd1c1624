// Sampling on the CPU: one result per row of logits, rows distributed over the team. kernels/sampling.h has the order
// of the steps; their exact meaning:
//
// * A logit that may be drawn and is NaN or +infinity breaks the row: nothing is drawn from it. A token whose logit is
//   -infinity is never drawn. If no token is left, the result is the lowest token that the mask allows and no list
//   forbids (0 if there is none).
// * Filters keep a prefix of the tokens in descending order of probability, equal ones by ascending id. top-k: the
//   first k. top-p: the shortest prefix that holds at least top_p of the mass that top-k left; masses are whole numbers
//   of 2^-40 of the heaviest, so their sum is the same in any order of summation. min-p: at least min_p of the
//   heaviest. The most likely token always stays.
// * The draw is a race: every token left has weight w = e^((x - largest) / temperature) and an exponentially
//   distributed time E from Philox word (seed, position, token); the largest w / E wins. Token i wins with probability
//   w_i / sum of w (Gumbel-max: Gumbel 1954; Maddison et al., arXiv 1411.0030). No sum over the vocabulary enters, so
//   the result does not depend on an order of summation, and noise of 1e-7 in the logits changes it only where the
//   first two are that close; a GPU computes the same by one argmax.
// * Logprobs are never below kLogprobMin. top orders equal logits by ascending id.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/host/isa.h"
#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cpu {

// A token and its sort key: larger keys are likelier.
struct SampleCandidate {
  std::uint32_t key = 0;
  TokenId token = 0;
};

// Memory of one worker; grows to the size of the vocabulary.
struct SampleScratch {
  std::vector<float> logits;
  std::vector<float> weights;
  std::vector<SampleCandidate> candidates;
  std::vector<std::uint64_t> histogram;
};

// Owner: the CPU backend. Thread: its caller; one call at a time.
class CpuSampler {
 public:
  explicit CpuSampler(const CpuContext& context);

  // Draws one token per row. logits: f32 [rows, vocab]; overwritten. Ignores token ids in `rows` beyond the vocabulary.
  void sample(const Matrix& logits, std::span<const SamplingRow> rows, std::span<SamplingResult> results);

 private:
  CpuContext context_;
  std::vector<SampleScratch> scratch_;  // one a worker
};

}  // namespace coppice::kernels::cpu
