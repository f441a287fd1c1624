// Where a MODEL argument leads: a folder, a file, or the word `demo`, which is the model that comes with Coppice.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace coppice::server {

// ERRORS: NotFound saying what was looked for and where.
absl::StatusOr<std::filesystem::path> resolve_model(const std::string& model);

// A shape's config.json by name ("160m"), from where the program is installed or built. ERRORS: NotFound listing the
// shapes there are.
absl::StatusOr<std::filesystem::path> resolve_shape(const std::string& shape);

}  // namespace coppice::server
