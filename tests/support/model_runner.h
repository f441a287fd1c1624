// Runs a Transformer without an engine, on the CPU or on a given device: sequences with pages of their own, steps made
// by hand. For parity and determinism tests.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/types.h"
#include "kernels/attention_plan.h"
#include "kernels/backend.h"
#include "models/transformer.h"
#include "models/weights.h"

namespace coppice::tests {

struct RunnerOptions {
  kernels::ComputeType dtype = kernels::ComputeType::kF32;
  std::optional<kernels::KvFormat> kv = {};           // none: as dtype
  std::optional<kernels::WeightFormat> storage = {};  // of matrices; none: as dtype
  int threads = 0;                                    // 0: all
  std::int32_t page_size = 16;
  std::int32_t sequences = 1;
  std::int32_t sequence_tokens = 128;  // most tokens of one sequence
  std::int32_t step_tokens = 64;
  std::int32_t reserved_tokens = 0;  // rows that the backend is told to expect in a step; 0: step_tokens
  bool sharing = true;
  std::function<void()> after_prepare = {};  // called between a step's preparation and the step
  std::function<absl::StatusOr<std::unique_ptr<kernels::Backend>>()> open_backend = {};  // empty: the CPU

  kernels::ModelFormats formats() const {
    kernels::ModelFormats formats = kernels::formats_of(dtype);
    if (storage) {
      formats.storage = storage;
    }
    formats.kv = kv.value_or(formats.kv);
    return formats;
  }
};

// What one sequence does in a step.
struct RunnerRow {
  std::int32_t sequence = 0;
  std::vector<TokenId> tokens;
  std::int32_t logits = -1;  // of how many of the last tokens; -1: of all
  std::int32_t hidden = 0;   // of how many of the last tokens the hidden states are kept
};

// Owner: a test. One thread. Page lists are scattered over the pool on purpose.
class ModelRunner {
 public:
  static absl::StatusOr<std::unique_ptr<ModelRunner>> make(const models::ModelConfig& config,
                                                           models::WeightSource& source, const RunnerOptions& options);

  // Advances the sequences (each at most once, ascending) by their tokens; returns the logits of the wanted rows, in
  // order.
  std::vector<std::vector<float>> step(std::span<const RunnerRow> rows);
  // One sequence alone, in chunks of at most `chunk` tokens: the logits of every token.
  std::vector<std::vector<float>> feed(std::int32_t sequence, std::span<const TokenId> tokens, std::int32_t chunk);
  // Of the last step, in the order of its rows.
  const std::vector<std::vector<float>>& hidden_states() const { return hidden_states_; }
  void forget(std::int32_t sequence) { lengths_[static_cast<std::size_t>(sequence)] = 0; }
  // Makes the first `tokens` of `to` the pages of `from`: a shared prefix. REQUIRES: whole pages.
  void share_prefix(std::int32_t from, std::int32_t to, std::int32_t tokens);

  const models::Transformer& transformer() const { return *transformer_; }
  kernels::Backend& backend() const { return *backend_; }

 private:
  ModelRunner() = default;
  std::vector<std::vector<float>> fetch(const kernels::Matrix& matrix);

  RunnerOptions options_;
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<models::Transformer> transformer_;
  std::unique_ptr<kernels::KvCache> cache_;
  kernels::StepProgram program_ = kernels::StepProgram::kNone;
  kernels::AttentionPlanner planner_;
  std::vector<std::vector<PageId>> pages_;  // per sequence
  std::vector<std::int32_t> lengths_;       // per sequence
  std::vector<std::vector<float>> hidden_states_;
};

// The lowest id among the largest logits.
TokenId greedy_token(std::span<const float> logits);

}  // namespace coppice::tests
