// Where weights come from: a list of the tensors that a config calls for, and sources that deliver them by name: a
// folder of safetensors files, or seeded random numbers for benchmarks of a shape.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/formats.h"
#include "models/model_config.h"
#include "models/stored_weights.h"

namespace coppice::models {

// What a tensor is for: random weights need to know, and the embedding is not read whole in every step.
enum class WeightRole : std::uint8_t { kEmbedding, kMatrix, kNorm, kBias };

// A tensor that a model needs. Names are Hugging Face's ("model.layers.0.self_attn.q_proj.weight").
struct WeightSpec {
  std::string name;
  std::int64_t rows = 1;  // 1 for a vector
  std::int64_t columns = 0;
  WeightRole role = WeightRole::kMatrix;

  bool is_vector() const { return role == WeightRole::kNorm || role == WeightRole::kBias; }
  std::int64_t elements() const { return rows * columns; }
};

// Names of the tensors that stand outside the layers.
inline constexpr const char* kEmbeddingName = "model.embed_tokens.weight";
inline constexpr const char* kFinalNormName = "model.norm.weight";
inline constexpr const char* kHeadName = "lm_head.weight";

// One tensor of layer `layer`: layer_weight_name(3, "mlp.up_proj.weight").
std::string layer_weight_name(std::int32_t layer, const char* name);

// Every tensor of a model, in the order in which the forward pass uses them.
std::vector<WeightSpec> weight_specs(const ModelConfig& config);

// Sum of elements over weight_specs: the number of parameters.
std::int64_t parameter_count(const ModelConfig& config);

// A tensor in host memory that its source owns, aligned for its format.
class WeightTensor {
 public:
  explicit WeightTensor(const kernels::HostWeight& view) : view_(view) {}

  // Valid until the tensor is released and while its source lives.
  const kernels::HostWeight& view() const { return view_; }

 private:
  kernels::HostWeight view_;
};

// As if every tensor of the config were stored in one format.
StoredWeights stored_as(const ModelConfig& config, kernels::WeightFormat format);

// Delivers weights by name. Owner: the loader of a model; it may be destroyed after Transformer::load. One thread.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // The tensor of exactly this name and shape. ERRORS: NotFound, InvalidArgument (wrong shape or type, a number that is
  // none), naming the tensor, what was expected and what was found; DataLoss, Internal: its file cannot be read any
  // more.
  virtual absl::StatusOr<WeightTensor> fetch(const WeightSpec& spec) = 0;
  // Frees a tensor's memory. REQUIRES: the tensor is not fetched again.
  virtual void release(const WeightSpec& spec) = 0;
  // All of the model's tensors in their files.
  virtual const StoredWeights& stored() const = 0;
  kernels::WeightFormat stored_format() const { return stored().format(); }
  std::size_t stored_bytes() const { return stored().bytes(); }
  // What its files hold beside, and is ignored: a line for the log. Empty: nothing.
  virtual std::string note() const { return {}; }
};

// Weights of a model folder. Checks at once that every tensor of the config is there, with the right shape, in F32,
// F16, BF16 or in the form of the config's quantisation (quantised_tensors.h). Other tensors are ignored; note() names
// them, except rotary tables and the head of a model with tied embeddings. ERRORS: as SafetensorsFolder::open;
// InvalidArgument naming the tensor.
absl::StatusOr<std::unique_ptr<WeightSource>> open_safetensors_weights(const std::filesystem::path& folder,
                                                                       const ModelConfig& config);

// Random weights: the same for the same config shapes, seed and type on every machine. Values are uniform with
// standard deviation 0.02; norms are 1. A tensor exists only while it is fetched.
std::unique_ptr<WeightSource> make_random_weights(const ModelConfig& config, std::uint64_t seed,
                                                  kernels::ComputeType type);

}  // namespace coppice::models
