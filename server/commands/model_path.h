// Where a MODEL or --shape argument leads.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/config/option_table.h"
#include "server/model/model_package.h"

namespace coppice::server {

// Of the argument MODEL, in every command's help.
inline constexpr const char* kModelHelp =
    "model folder, .gguf file, owner/name[@revision][:QUANT] on the Hugging Face Hub, smollm2, or demo";

// MODEL as a command line has it, and how it may be found.
struct ModelChoice {
  std::string text;
  bool is_offline = false;
  std::string table = {};  // a file of more names; "" = none

  void add_to(OptionTable& options);
  // Another model, found by the same rules.
  ModelChoice with(const std::string& other) const { return {other, is_offline, table}; }
};

// The word "demo" for the model that comes with Coppice; else a path, if something is there; else a name of a table
// (configs/models.yaml), or one on the Hugging Face Hub. The last two are fetched where they are not on this machine
// yet, with a bar on stderr. ERRORS: as ModelPackage::open, find_named_model and find_hub_model; NotFound saying what
// a model may be.
absl::StatusOr<std::unique_ptr<ModelPackage>> open_model(const ModelChoice& choice);

// A shape's config.json by name ("160m"), from where the program is installed or built. ERRORS: NotFound listing the
// shapes there are.
absl::StatusOr<std::filesystem::path> resolve_shape(const std::string& shape);

}  // namespace coppice::server
