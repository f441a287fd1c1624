// Where a MODEL or --shape argument leads.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/model/model_package.h"

namespace coppice::server {

// `model` is a path, or the word "demo" for the model that comes with Coppice. ERRORS: as ModelPackage::open; NotFound
// saying where the demo was looked for.
absl::StatusOr<std::unique_ptr<ModelPackage>> open_model(const std::string& model);

// A shape's config.json by name ("160m"), from where the program is installed or built. ERRORS: NotFound listing the
// shapes there are.
absl::StatusOr<std::filesystem::path> resolve_shape(const std::string& shape);

}  // namespace coppice::server
