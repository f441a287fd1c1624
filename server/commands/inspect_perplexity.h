// `coppice inspect MODEL --perplexity FILE`: how likely the model finds a text.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "server/commands/model_path.h"
#include "server/model/model_loader.h"

namespace coppice::server {

struct PerplexityOptions {
  std::string file;
  std::int32_t window = 0;  // tokens; 0 = 512, or the model's context where that is less
  bool json = false;
};

// Prints what was measured. load: device and element type; the engine's sizes are chosen here. ERRORS: InvalidArgument
// and NotFound naming the file or the flag; as load_model and score_tokens.
absl::Status print_perplexity(const ModelChoice& model, const LoadModelOptions& load, const PerplexityOptions& options);

}  // namespace coppice::server
