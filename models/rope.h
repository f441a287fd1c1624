// Rotary position embedding as data: reading the three spellings of its configuration, and the inverse frequencies with
// the scaling applied. Sources: RoFormer (arXiv 2104.09864), YaRN (arXiv 2309.00071), Llama 3.1's frequency scaling,
// and Hugging Face transformers' modeling_rope_utils, whose float32 arithmetic is kept so that long positions agree.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "absl/status/statusor.h"
#include "models/model_config.h"

namespace coppice::models {

// Reads `rope_theta`, `rope_scaling` (with `rope_type` or `type`) and transformers 5's `rope_parameters` of a
// config.json object. `head_dim` and `max_positions` are the model's.
// ERRORS: InvalidArgument naming the field; Unimplemented for a scaling that is not supported ("dynamic", …).
absl::StatusOr<RopeConfig> parse_rope(const nlohmann::json& config, std::int32_t head_dim, std::int32_t max_positions);

// The context length that the scaling allows: for yarn original_max_positions × factor, for linear max_positions ×
// factor, else max_positions. (max_position_embeddings already includes llama3's scaling.)
std::int32_t scaled_max_positions(const RopeConfig& rope, std::int32_t max_positions);

// [rotary_dim / 2] inverse frequencies in radians per position, scaling applied.
std::vector<float> rope_inverse_frequency(const RopeConfig& rope);

}  // namespace coppice::models
