// Two kinds of package: a Hugging Face folder, and a GGUF file.
#include "server/model/model_package.h"

#include <regex>
#include <system_error>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "models/gguf.h"
#include "models/gguf_weights.h"
#include "server/model/gguf_text.h"

namespace coppice::server {
namespace {

class FolderPackage final : public ModelPackage {
 public:
  FolderPackage(std::filesystem::path folder, const std::string& name)
      : folder_(std::move(folder)),
        name_(name.empty() ? std::filesystem::weakly_canonical(folder_).filename().string() : name) {}

  std::string name() const override { return name_; }

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
  const std::string name_;
};

class GgufPackage final : public ModelPackage {
 public:
  GgufPackage(models::GgufModel model, const std::string& name)
      : model_(std::move(model)), name_(name.empty() ? model_.path().stem().string() : name) {}

  std::string name() const override { return name_; }

  absl::StatusOr<models::ModelConfig> config() const override { return models::gguf_config(model_); }

  absl::StatusOr<std::unique_ptr<models::WeightSource>> weights(const models::ModelConfig& config) const override {
    return models::open_gguf_weights(model_, config);
  }

  absl::StatusOr<ModelText> text() const override {
    absl::StatusOr<ModelText> text = gguf_text(model_.metadata());
    if (!text.ok()) {
      return absl::Status(text.status().code(),
                          fmt::format("{}: {}", model_.path().string(), std::string(text.status().message())));
    }
    return text;
  }

  absl::StatusOr<GenerationDefaults> generation_defaults() const override { return GenerationDefaults(); }
  absl::StatusOr<EmbeddingDefaults> embedding_defaults() const override { return EmbeddingDefaults(); }

 private:
  const models::GgufModel model_;
  const std::string name_;
};

absl::StatusOr<std::unique_ptr<ModelPackage>> open_gguf(const std::filesystem::path& path, const std::string& name) {
  COPPICE_ASSIGN_OR_RETURN(models::GgufModel model, models::GgufModel::open(path));
  return std::make_unique<GgufPackage>(std::move(model), name);
}

// The GGUF file of a folder that is none of Hugging Face's; empty: there is none. Of a model in several files the
// first. ERRORS: InvalidArgument when there is more than one model.
absl::StatusOr<std::filesystem::path> find_gguf(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::path found;
  if (std::filesystem::exists(folder / "config.json", error)) {
    return found;
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    static const std::regex later("-(?!00001)[0-9]{5}-of-[0-9]{5}\\.gguf$");
    if (entry.path().extension() != ".gguf" || std::regex_search(name, later)) {
      continue;
    }
    if (!found.empty()) {
      return absl::InvalidArgumentError(fmt::format("{}: holds several GGUF models, {} and {}: name one",
                                                    folder.string(), found.filename().string(), name));
    }
    found = entry.path();
  }
  return found;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelPackage>> ModelPackage::open(const std::filesystem::path& path,
                                                                 const std::string& name) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return absl::NotFoundError(fmt::format(
        "{}: no such model; give a folder with config.json and *.safetensors, a .gguf file, or the word demo",
        path.string()));
  }
  if (!std::filesystem::is_directory(path, error)) {
    return open_gguf(path, name);
  }
  COPPICE_ASSIGN_OR_RETURN(const std::filesystem::path gguf, find_gguf(path));
  if (!gguf.empty()) {
    return open_gguf(gguf, name);
  }
  return std::make_unique<FolderPackage>(path, name);
}

}  // namespace coppice::server
