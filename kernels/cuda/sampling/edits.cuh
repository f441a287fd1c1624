// A row of logits while it is sampled, and the edits that a request makes to it: biases, penalties, forbidden tokens.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/sampling/block.cuh"
#include "kernels/cuda/sampling/rows.h"

namespace coppice::kernels::cuda {

struct SampleParams {
  Global<float> logits;  // [rows, vocab]
  std::int64_t stride;
  std::int32_t vocab;
  Global<const SampleRow> rows;
  Global<const SampleEdit> edits;
  Global<float> saved;  // one an edit
  Global<const std::uint32_t> allowed;
  Global<SampleAnswer> answers;
  Global<SampleTop> tops;  // [rows][top_capacity], in no order
  std::int32_t top_capacity;
  Global<const TokenId> labels;
  Global<float> label_logits;  // one a label
};

// A row while it is sampled.
struct SampledRow {
  Global<float> logits;
  Global<const std::uint32_t> allowed;
  std::int32_t allowed_words;
  std::int32_t vocab;

  // The logit with the mask applied; -infinity for one that is not finite.
  COPPICE_DEVICE float logit(std::int32_t token) const {
    const float x = logits[token];
    return is_finite(x) && is_allowed(token) ? x : negative_infinity();
  }
  COPPICE_DEVICE bool is_allowed(std::int32_t token) const {
    if (allowed_words < 0) {
      return true;
    }
    const std::int32_t word = token / 32;
    const std::uint32_t bits = word < allowed_words ? static_cast<std::uint32_t>(allowed[word]) : 0U;
    return (bits >> (token % 32) & 1U) != 0;
  }
};

COPPICE_DEVICE void save_edited(const SampleParams& params, const SampleRow& request, const SampledRow& row) {
  for (std::int32_t i = request.biases_begin + thread_index(); i < request.edits_end; i += thread_count()) {
    const SampleEdit edit = params.edits[i];
    params.saved[i] = static_cast<float>(row.logits[edit.token]);
  }
}
COPPICE_DEVICE void restore_edited(const SampleParams& params, const SampleRow& request, const SampledRow& row) {
  sync_block();
  for (std::int32_t i = request.biases_begin + thread_index(); i < request.edits_end; i += thread_count()) {
    const SampleEdit edit = params.edits[i];
    row.logits[edit.token] = static_cast<float>(params.saved[i]);
  }
  sync_block();
}

// The thread of a token's first bias adds all of them, in their order.
COPPICE_DEVICE void add_biases(const SampleParams& params, const SampleRow& request, const SampledRow& row) {
  for (std::int32_t i = request.biases_begin + thread_index(); i < request.counts_begin; i += thread_count()) {
    const SampleEdit edit = params.edits[i];
    bool is_first = true;
    for (std::int32_t j = request.biases_begin; j < i; ++j) {
      const SampleEdit other = params.edits[j];
      is_first = is_first && other.token != edit.token;
    }
    if (is_first) {
      float logit = row.logits[edit.token];
      for (std::int32_t j = i; j < request.counts_begin; ++j) {
        const SampleEdit other = params.edits[j];
        logit = other.token == edit.token ? logit + bits_float(static_cast<std::uint32_t>(other.value)) : logit;
      }
      row.logits[edit.token] = logit;
    }
  }
}

COPPICE_DEVICE void edit_logits(const SampleParams& params, const SampleRow& request, const SampledRow& row) {
  save_edited(params, request, row);
  sync_block();
  add_biases(params, request, row);
  sync_block();
  for (std::int32_t i = request.counts_begin + thread_index(); i < request.forbidden_begin; i += thread_count()) {
    const SampleEdit count = params.edits[i];
    float logit = row.logits[count.token];
    logit = logit > 0.0F ? logit / request.repetition_penalty : logit * request.repetition_penalty;
    if (count.value > 0) {
      logit -= request.presence_penalty + request.frequency_penalty * static_cast<float>(count.value);
    }
    row.logits[count.token] = logit;
  }
  sync_block();
  for (std::int32_t i = request.forbidden_begin + thread_index(); i < request.edits_end; i += thread_count()) {
    const SampleEdit forbidden = params.edits[i];
    row.logits[forbidden.token] = negative_infinity();
  }
  sync_block();
}

}  // namespace coppice::kernels::cuda
