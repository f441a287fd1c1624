// Looks for data files beside the installed program first, then in the checkout it was built from.
#include "server/commands/model_path.h"

#include <system_error>
#include <vector>

#include "fmt/format.h"

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

}  // namespace

absl::StatusOr<std::unique_ptr<ModelPackage>> open_model(const std::string& model) {
  if (model != "demo") {
    return ModelPackage::open(model);
  }
  std::error_code error;
  for (const fs::path& root : data_roots()) {
    if (fs::exists(root / "models" / "demo" / "config.json", error)) {
      return ModelPackage::open(root / "models" / "demo");
    }
  }
  return absl::NotFoundError(fmt::format("the demo model is not in {}; reinstall, or name a model folder",
                                         (data_roots().front() / "models" / "demo").string()));
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
