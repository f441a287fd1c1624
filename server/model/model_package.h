// ModelPackage: one model as its makers ship it: config, weights, tokenizer, chat templates, recommended sampling.
// Every command opens a model through this class; what the files are called and how they are laid out is known only
// here: a Hugging Face folder, or a GGUF file.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "models/model_config.h"
#include "models/weights.h"
#include "server/model/embedding_defaults.h"
#include "server/model/generation_defaults.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::server {

// What turns text into token ids and conversations into text.
struct ModelText {
  std::unique_ptr<text::Tokenizer> tokenizer;
  text::TokenizerConfig config;  // spellings of special tokens, chat templates
};

// Owner: the command that opened it. Thread: one. Each getter reads its part of the package when it is called and
// keeps nothing, so that a command pays only for what it uses. ERRORS of the getters: NotFound, InvalidArgument,
// Unimplemented, each naming the file and the field.
class ModelPackage {
 public:
  // A folder, a GGUF file, or a folder with one GGUF model. `name`: what clients call it; "" = as the folder or file is
  // called. ERRORS: NotFound; InvalidArgument.
  static absl::StatusOr<std::unique_ptr<ModelPackage>> open(const std::filesystem::path& path,
                                                            const std::string& name = "");
  virtual ~ModelPackage() = default;

  // What clients call the model unless the operator names it: "demo", "Qwen3-0.6B", "Qwen/Qwen3-0.6B".
  virtual std::string name() const = 0;
  virtual absl::StatusOr<models::ModelConfig> config() const = 0;
  // Opens the weights and checks them against `config`. Tensors are read later, one by one.
  virtual absl::StatusOr<std::unique_ptr<models::WeightSource>> weights(const models::ModelConfig& config) const = 0;
  virtual absl::StatusOr<ModelText> text() const = 0;
  // What the model's makers recommend. Empty where the package recommends nothing.
  virtual absl::StatusOr<GenerationDefaults> generation_defaults() const = 0;
  // How embeddings are made with the model where a request does not say.
  virtual absl::StatusOr<EmbeddingDefaults> embedding_defaults() const = 0;
};

}  // namespace coppice::server
