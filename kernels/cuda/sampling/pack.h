// Packs sampling requests into the plain arrays that the kernel reads (rows.h), and unpacks its answers. Needs no CUDA
// header, so that tests run the kernel on a CPU with the same packing.
#pragma once

#include <span>
#include <vector>

#include "kernels/cuda/sampling/rows.h"
#include "kernels/sampling.h"

namespace coppice::kernels::cuda {

// The requests of a step as the kernel reads them. Keeps its memory between steps.
struct PackedSampling {
  std::vector<SampleRow> rows;
  std::vector<SampleEdit> edits;
  std::vector<std::uint32_t> allowed;
  std::vector<TokenId> labels;
  std::int32_t top_capacity = 0;  // the largest number of most likely tokens that a row asks for

  // Token ids beyond the vocabulary are left out. REQUIRES: top_logprobs <= kSampleTopMax, scored < vocab, labels too.
  void pack(std::span<const SamplingRow> requests, std::int64_t vocab);
};

// What the kernel left of one row, apart from its answer.
struct SampleLists {
  std::span<SampleTop> tops;      // the answer's top_count entries in any order
  std::span<const float> labels;  // logits of the row's labels
};

// A row's answer in the words of kernels/sampling.h. Sorts lists.tops.
SamplingResult unpack_sample(const SamplingRow& request, const SampleAnswer& answer, const SampleLists& lists);

}  // namespace coppice::kernels::cuda
