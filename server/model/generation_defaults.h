// generation_config.json: what the model's makers recommend for sampling, used where a request is silent (as vLLM
// does).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "absl/status/statusor.h"

namespace coppice::server {

// Sampling that the model's makers recommend; used where a request is silent.
struct SamplingDefaults {
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
  std::optional<std::int64_t> top_k;
};

// Empty defaults when there is no such file. ERRORS: InvalidArgument naming the file and the field for values no
// request could have.
absl::StatusOr<SamplingDefaults> load_generation_defaults(const std::filesystem::path& path);

}  // namespace coppice::server
