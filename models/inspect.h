// Facts about a model for `coppice inspect`: sizes and memory, computed from the config alone, and their text form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/formats.h"
#include "models/model_config.h"
#include "models/stored_weights.h"

namespace coppice::models {

// Matrices that are stored in few bits and lose that in memory.
struct Widening {
  std::string from;
  kernels::WeightFormat to;
  std::int64_t matrices = 0;
};

// A value; counts are exact, bytes without what a device pads its layouts with.
struct ModelFacts {
  ModelConfig config;
  std::string stored_name;  // of what most weights are in the files
  kernels::ModelFormats formats;
  std::int64_t parameters = 0;
  std::size_t stored_bytes = 0;         // of the tensors in the weights' files
  std::size_t weight_bytes = 0;         // in memory; a tied embedding counts twice (table and packed head)
  std::size_t table_bytes = 0;          // of those, the embedding's
  std::string memory_name;              // of what most matrices are in memory
  std::int64_t quantised_matrices = 0;  // in the files
  std::vector<Widening> widened;
  std::size_t kv_bytes_per_token = 0;  // in all layers
};

// Whether a device multiplies with weights in a quantised format; where not, they are widened.
using Multiplies = std::function<bool(kernels::WeightFormat)>;

// `stored` comes from the weight source.
ModelFacts model_facts(const ModelConfig& config, const StoredWeights& stored, const kernels::ModelFormats& formats,
                       const Multiplies& multiplies);

// One line for the log: how many of the quantised matrices are widened, from what. Empty: none.
std::string widening_note(const ModelFacts& facts);

// Tokens of KV cache that fit in `memory_bytes` beside the weights; 0: the weights alone do not.
std::int64_t kv_tokens_that_fit(const ModelFacts& facts, std::size_t memory_bytes);

// Several lines "name  value". memory_bytes > 0 adds a line on what fits in that much.
std::string format_model_facts(const ModelFacts& facts, std::size_t memory_bytes);

}  // namespace coppice::models
