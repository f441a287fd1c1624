// generation_config.json: what the model's makers recommend, used where a request is silent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "absl/status/statusor.h"
#include "base/sampling.h"

namespace coppice::server {

struct GenerationDefaults {
  base::SamplingChoices sampling;
  std::optional<std::int64_t> max_tokens;  // of an answer (max_new_tokens)
};

// Empty when there is no such file. ERRORS: InvalidArgument naming the file and the field for values that no request
// could have.
absl::StatusOr<GenerationDefaults> load_generation_defaults(const std::filesystem::path& path);

}  // namespace coppice::server
