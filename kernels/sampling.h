// Sampling of one row of logits: the request and its result, as plain data for every backend. The random draw is a
// function of (seed, position) alone (base/random.h), so a token does not depend on the batch or on speculation.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/sampling.h"
#include "base/types.h"

namespace coppice::kernels {

struct TokenCount {
  TokenId token = 0;
  std::int32_t output_count = 0;  // times in the output so far (0: only in the prompt)
};

struct TokenBias {
  TokenId token = 0;
  float bias = 0;
};

// The numbers that one token is drawn with (base/sampling.h), and which draw it is. A value.
struct DrawNumbers : base::SamplingNumbers {
  std::uint64_t seed = 0;
  std::uint64_t position = 0;      // of the token to be drawn, in the sequence
  std::int32_t top_logprobs = -1;  // -1: no logprobs; 0: the drawn token's; n: also the n most likely
  TokenId scored = -1;             // >= 0: do not draw; report this token's logprob (prompt logprobs)
};

// One row. Spans are host memory, valid during the call. The order of application: bias, penalties (repetition over
// prompt and output; presence and frequency over output), forbidden tokens and allowed mask, temperature, top-k, top-p,
// min-p, draw.
struct SamplingRow : DrawNumbers {
  std::span<const TokenCount> counts;  // distinct tokens of prompt and output; empty when no penalty is on
  std::span<const TokenBias> biases;
  std::span<const TokenId> forbidden;      // never drawn (end tokens before min_tokens)
  std::span<const std::uint32_t> allowed;  // bit per token, constrained decoding; empty = all allowed
  std::span<const TokenId> labels;         // their logprobs are reported too, whatever is drawn; below the vocabulary
};

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
};

// Logprobs are never below this: JSON has no infinity.
inline constexpr float kLogprobMin = -9999.0F;

// Logprobs are log-softmax of the model's own logits in float32 (before bias, penalties and temperature), as vLLM
// reports by default.
struct SamplingResult {
  TokenId token = 0;
  float logprob = 0;              // of `token`; 0 unless logprobs of any kind are asked for
  std::vector<TokenLogprob> top;  // descending; ties by lower id
  std::vector<float> labels;      // logprobs of the row's labels, in their order
  bool is_broken = false;         // a logit was NaN or +infinity: no token was drawn, and there are no logprobs
};

}  // namespace coppice::kernels
