// The one kind of package so far: a Hugging Face folder.
#include "server/model/model_package.h"

#include <system_error>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"

namespace coppice::server {
namespace {

class FolderPackage final : public ModelPackage {
 public:
  explicit FolderPackage(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::string name() const override { return std::filesystem::weakly_canonical(folder_).filename().string(); }

  absl::StatusOr<models::ModelConfig> config() const override { return models::load_model_config(folder_); }

  absl::StatusOr<std::unique_ptr<models::WeightSource>> weights(const models::ModelConfig& config) const override {
    return models::open_safetensors_weights(folder_, config);
  }

  absl::StatusOr<ModelText> text() const override {
    ModelText text;
    COPPICE_ASSIGN_OR_RETURN(text.config, text::load_tokenizer_config(folder_));
    COPPICE_ASSIGN_OR_RETURN(text.tokenizer, text::load_tokenizer(folder_, text.config));
    return text;
  }

  absl::StatusOr<GenerationDefaults> generation_defaults() const override {
    return load_generation_defaults(folder_ / "generation_config.json");
  }

  absl::StatusOr<EmbeddingDefaults> embedding_defaults() const override { return load_embedding_defaults(folder_); }

 private:
  const std::filesystem::path folder_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ModelPackage>> ModelPackage::open(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return absl::NotFoundError(fmt::format(
        "{}: no such model; give a folder with config.json and *.safetensors, or the word demo", path.string()));
  }
  if (!std::filesystem::is_directory(path, error)) {
    return absl::UnimplementedError(
        fmt::format("{}: only model folders are served; .gguf files are not yet", path.string()));
  }
  return std::make_unique<FolderPackage>(path);
}

}  // namespace coppice::server
