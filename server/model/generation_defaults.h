// generation_config.json: what the model's makers recommend for sampling, used where a request is silent (as vLLM
// does).
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "server/model/model_host.h"

namespace coppice::server {

// Empty defaults when the folder has no such file. ERRORS: InvalidArgument naming the file and the field for values no
// request could have.
absl::StatusOr<SamplingDefaults> load_generation_defaults(const std::filesystem::path& model_folder);

}  // namespace coppice::server
