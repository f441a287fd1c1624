// The Llama family in plain float64 loops: slow, obvious, and written without the engine's code, so that it can be
// believed. One sequence, one token at a time, over the same WeightSource as the real thing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/types.h"
#include "models/model_config.h"
#include "models/weights.h"

namespace coppice::tests {

// All weights widened to float64. Immutable after load; share it between sequences.
struct ReferenceWeights {
  struct Layer {
    std::vector<double> input_norm, attention_norm, query_norm, key_norm;
    std::vector<double> query, key, value, output, gate, up, down;
    std::vector<double> query_bias, key_bias, value_bias, output_bias, gate_bias, up_bias, down_bias;
  };
  models::ModelConfig config;
  std::vector<double> embedding, final_norm, head;
  std::vector<Layer> layers;
};

// ERRORS: those of the source.
absl::StatusOr<std::shared_ptr<const ReferenceWeights>> load_reference(const models::ModelConfig& config,
                                                                       models::WeightSource& source);

// One sequence with its keys and values. Copyable: a copy is a fork.
class ReferenceSequence {
 public:
  explicit ReferenceSequence(std::shared_ptr<const ReferenceWeights> weights);

  // Appends one token and returns its logits [vocab].
  std::vector<double> append(TokenId token);
  // Appends all tokens and returns the logits of each.
  std::vector<std::vector<double>> append(std::span<const TokenId> tokens);
  std::int32_t length() const { return length_; }

 private:
  std::vector<double> attend(std::size_t layer, const std::vector<double>& query) const;
  void rotate(std::vector<double>& heads) const;

  std::shared_ptr<const ReferenceWeights> weights_;
  std::vector<double> frequency_;            // [head_dim / 2]
  std::vector<std::vector<double>> keys_;    // per layer, length × key_heads × head_dim
  std::vector<std::vector<double>> values_;  // the same
  std::int32_t length_ = 0;
};

// The lowest id among the largest logits.
TokenId greedy_token(std::span<const double> logits);

}  // namespace coppice::tests
