// Facts about a model for `coppice inspect`: sizes and memory, computed from the config alone, and their text form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/formats.h"
#include "models/model_config.h"

namespace coppice::models {

// A value; bytes and counts are exact.
struct ModelFacts {
  ModelConfig config;
  kernels::WeightFormat stored_format;
  kernels::ModelFormats formats;
  std::int64_t parameters = 0;
  std::size_t stored_bytes = 0;        // of the tensors in the weights' files
  std::size_t weight_bytes = 0;        // in memory; a tied embedding counts twice (table and packed head)
  std::size_t kv_bytes_per_token = 0;  // in all layers
};

// `stored_format` and `stored_bytes` come from the weight source.
ModelFacts model_facts(const ModelConfig& config, kernels::WeightFormat stored_format, std::size_t stored_bytes,
                       const kernels::ModelFormats& formats);

// Tokens of KV cache that fit in `memory_bytes` beside the weights; 0: the weights alone do not.
std::int64_t kv_tokens_that_fit(const ModelFacts& facts, std::size_t memory_bytes);

// Several lines "name  value". memory_bytes > 0 adds a line on what fits in that much.
std::string format_model_facts(const ModelFacts& facts, std::size_t memory_bytes);

}  // namespace coppice::models
