// generation_config.json: what the model's makers recommend for sampling, used where a request is silent (as vLLM
// does).
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "base/sampling.h"

namespace coppice::server {

// Empty when there is no such file. ERRORS: InvalidArgument naming the file and the field for values that no request
// could have.
absl::StatusOr<base::SamplingChoices> load_generation_defaults(const std::filesystem::path& path);

}  // namespace coppice::server
