// The inputs and outputs of the sampling kernel, as plain data that the host packs and unpacks (pack.h).
#pragma once

#include <cstdint>

#include "base/sampling.h"
#include "base/types.h"

namespace coppice::kernels::cuda {

// A change to one logit. In biases `value` holds the bits of a float, in counts the times in the output.
struct SampleEdit {
  TokenId token;
  std::int32_t value;
};

// One row: kernels/sampling.h, with its lists as ranges of one array of edits.
struct SampleRow : base::SamplingNumbers {
  std::uint64_t seed;
  std::uint64_t position;
  std::int32_t top_logprobs;     // -1: no logprobs
  TokenId scored;                // >= 0: nothing is drawn
  std::int32_t biases_begin;     // edits [biases_begin, counts_begin) are biases,
  std::int32_t counts_begin;     // [counts_begin, forbidden_begin) counts for the penalties,
  std::int32_t forbidden_begin;  // [forbidden_begin, edits_end) forbidden tokens
  std::int32_t edits_end;
  std::int32_t allowed_begin;  // first word of the mask
  std::int32_t allowed_words;  // -1: every token is allowed
  std::int32_t labels_begin;   // labels [labels_begin, labels_end): tokens whose logits are reported
  std::int32_t labels_end;

  constexpr bool wants_logprobs() const { return top_logprobs >= 0 || scored >= 0 || labels_end > labels_begin; }
};

// The answer for one row. Logits are the model's own, before any edit.
struct SampleAnswer {
  TokenId token;  // -1: a logit was NaN or +infinity, and the rest means nothing
  float largest;  // of the finite logits; -infinity without one. From here on: only where logprobs are requested
  float sum;      // of e^(logit - largest)
  float logit;    // of `token`
  std::int32_t top_count;
};

struct SampleTop {
  TokenId token;
  float logit;  // -infinity for one that is not finite
};

inline constexpr std::int32_t kSampleTopMax = 64;  // most likely tokens that a row may ask for

}  // namespace coppice::kernels::cuda
