// The working memory of one forward pass: allocated once for the largest step, reused by every step. Rows are token
// rows. The residual stream is f32; what matrix products read is in the compute type.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "kernels/device.h"
#include "models/model_config.h"
#include "models/transformer.h"

namespace coppice::models {

// Owner: the transformer; thread: the engine's. Matrices view `memory`; a step uses their first rows.
struct Activations {
  kernels::Matrix residual;         // f32 [step_tokens, hidden]
  kernels::Matrix normed;           // [step_tokens, hidden]
  kernels::Matrix qkv;              // f32 [step_tokens, (query_heads + 2 * key_heads) * head_dim]
  kernels::Matrix query;            // [step_tokens, query_heads * head_dim]
  kernels::Matrix attended;         // [step_tokens, query_heads * head_dim]
  kernels::Matrix gate_up;          // [step_tokens, 2 * intermediate]
  kernels::Matrix activated;        // [step_tokens, intermediate]
  kernels::Matrix logits_residual;  // f32 [step_logits, hidden]
  kernels::Matrix logits;           // f32 [step_logits, vocab]
  std::vector<kernels::Buffer> memory;
};

// ERRORS: ResourceExhausted.
absl::StatusOr<Activations> make_activations(const ModelConfig& config, kernels::ComputeType compute,
                                             const TransformerLimits& limits, kernels::Device& device);

}  // namespace coppice::models
