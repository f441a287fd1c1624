// Looks for data files beside the installed program first, then in the checkout it was built from.
#include "server/commands/model_path.h"

#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "server/app/hub_environment.h"
#include "server/app/progress_bar.h"
#include "server/hub/named_models.h"

namespace coppice::server {
namespace {

namespace fs = std::filesystem;

// Folders that may hold models/demo and configs/shapes.
std::vector<fs::path> data_roots() {
  std::vector<fs::path> roots;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    roots.push_back(program.parent_path().parent_path() / "share" / "coppice");
  }
  roots.emplace_back(COPPICE_SOURCE_DATA);
  return roots;
}

absl::StatusOr<std::unique_ptr<ModelPackage>> open_demo() {
  std::error_code error;
  for (const fs::path& root : data_roots()) {
    if (fs::exists(root / "models" / "demo" / "config.json", error)) {
      return ModelPackage::open(root / "models" / "demo");
    }
  }
  return absl::NotFoundError(fmt::format("the demo model is not in {}; reinstall, or name a model folder",
                                         (data_roots().front() / "models" / "demo").string()));
}

// The operator's names before those that come with Coppice.
absl::StatusOr<std::vector<NamedModel>> named_models(const std::string& table) {
  std::vector<NamedModel> models;
  if (!table.empty()) {
    COPPICE_ASSIGN_OR_RETURN(models, read_named_models(table));
  }
  std::error_code error;
  for (const fs::path& root : data_roots()) {
    const fs::path file = root / "configs" / "models.yaml";
    if (fs::exists(file, error)) {
      COPPICE_ASSIGN_OR_RETURN(const std::vector<NamedModel> more, read_named_models(file));
      models.insert(models.end(), more.begin(), more.end());
      break;
    }
  }
  return models;
}

// A name of a table or of the Hub.
absl::StatusOr<std::unique_ptr<ModelPackage>> open_by_name(const ModelChoice& choice, FetchOptions options) {
  COPPICE_ASSIGN_OR_RETURN(const std::vector<NamedModel> models, named_models(choice.table));
  std::string known = "demo";
  for (const NamedModel& model : models) {
    if (model.name == choice.text) {
      COPPICE_ASSIGN_OR_RETURN(const fs::path path, find_named_model(model, options));
      return ModelPackage::open(path, model.name);
    }
    known += ", " + model.name;
  }
  const std::optional<HubName> name = parse_hub_name(choice.text);
  if (!name.has_value() || choice.text.ends_with(".gguf") || choice.text.ends_with(".safetensors")) {
    return absl::NotFoundError(
        fmt::format("{}: no such model; give a folder with config.json and *.safetensors, a .gguf file, "
                    "owner/name[@revision][:QUANT] of the Hugging Face Hub, or one of: {}",
                    choice.text, known));
  }
  COPPICE_ASSIGN_OR_RETURN(const fs::path path, find_hub_model(*name, options));
  return ModelPackage::open(path, name->served_name());
}

}  // namespace

void ModelChoice::add_to(OptionTable& options) {
  options.add_flag("offline", &is_offline, "make no connection to find MODEL: what is on this machine, or an error");
  options.add_text("models", &table, "file of more names that MODEL may have, as configs/models.yaml");
}

absl::StatusOr<std::unique_ptr<ModelPackage>> open_model(const ModelChoice& choice) {
  if (choice.text == "demo") {
    return open_demo();
  }
  std::error_code error;
  if (choice.text.empty() || fs::exists(choice.text, error)) {
    return ModelPackage::open(choice.text);
  }
  FetchOptions options = fetch_options_from_environment();
  options.is_offline = options.is_offline || choice.is_offline;
  ProgressBar bar("fetching");
  options.progress = [&bar](std::size_t done, std::size_t total) { bar.update(done, total); };
  return open_by_name(choice, std::move(options));
}

absl::StatusOr<fs::path> resolve_shape(const std::string& shape) {
  std::string known;
  std::error_code error;
  for (const fs::path& root : data_roots()) {
    const fs::path folder = root / "configs" / "shapes";
    if (shape.find('/') == std::string::npos && fs::exists(folder / (shape + ".json"), error)) {
      return folder / (shape + ".json");
    }
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      known += (known.empty() ? "" : ", ") + entry.path().stem().string();
    }
  }
  return absl::NotFoundError(fmt::format("--shape {}: no such shape; there are {}", shape, known));
}

}  // namespace coppice::server
