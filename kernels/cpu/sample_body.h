// The inner loops of sampling (sample.cc), one table per instruction set. Rows are f32 [vocab]; -infinity is a token
// that can never be drawn, and so is, except where said otherwise, a number that is not finite.
#pragma once

#include <cstdint>

#include "kernels/host/isa.h"

namespace coppice::kernels::cpu {

// The numbers that one race (SampleBody::race) draws with.
struct RaceDraw {
  std::uint64_t seed = 0;
  std::uint64_t position = 0;
  float weight_min = 0;  // tokens of smaller weight do not run
};

// A table of functions; immutable.
struct SampleBody {
  // Returns the largest number; NaN when there is one that is NaN or +infinity.
  float (*largest)(const float* x, std::int64_t vocab);
  // Returns the first index of `value`, or -1.
  std::int64_t (*find)(const float* x, std::int64_t vocab, float value);
  // Returns the sum of e^(x - largest), in a fixed order.
  float (*sum_exponentials)(const float* x, std::int64_t vocab, float largest);
  // weights = e^((x - largest) / temperature): 1 for the largest.
  void (*weights)(const float* x, std::int64_t vocab, float largest, float temperature, float* weights);
  // Returns the sum of the weights as whole numbers of 2^-40: the same in any order of summation.
  std::uint64_t (*total_mass)(const float* weights, std::int64_t vocab);
  // x = -infinity where the bit of the token is 0; `words` words of 32 bits, tokens beyond them count as 0.
  void (*keep_allowed)(float* x, std::int64_t vocab, const std::uint32_t* allowed, std::int64_t words);
  // Returns the token with the largest weight / E, E exponentially distributed (Gumbel-max in its exponential form);
  // the lowest among equals; -1 if no weight is above zero.
  std::int64_t (*race)(const float* weights, std::int64_t vocab, const RaceDraw& draw);
};

COPPICE_DECLARE_BODY(SampleBody, sample_body)

}  // namespace coppice::kernels::cpu
