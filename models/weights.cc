// The list of a model's tensors, and the safetensors source (weights.h).
#include "models/weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "base/status_macros.h"
#include "models/float_formats.h"
#include "models/quantised_tensors.h"
#include "models/safetensors.h"
#include "models/weight_blocks.h"

namespace coppice::models {
namespace {

using kernels::WeightFormat;
using kernels::WeightKind;

void add_matrix(std::vector<WeightSpec>& specs, std::int32_t layer, const std::string& projection, std::int64_t rows,
                std::int64_t columns, bool bias) {
  specs.push_back({layer_weight_name(layer, (projection + ".weight").c_str()), rows, columns, WeightRole::kMatrix});
  if (bias) {
    specs.push_back({layer_weight_name(layer, (projection + ".bias").c_str()), 1, rows, WeightRole::kBias});
  }
}

void add_layer(std::vector<WeightSpec>& specs, const ModelConfig& config, std::int32_t layer) {
  const std::int64_t hidden = config.hidden;
  const std::int64_t query = std::int64_t{config.query_heads} * config.head_dim;
  const std::int64_t key = std::int64_t{config.key_heads} * config.head_dim;
  specs.push_back({layer_weight_name(layer, "input_layernorm.weight"), 1, hidden, WeightRole::kNorm});
  add_matrix(specs, layer, "self_attn.q_proj", query, hidden, config.biases.qkv);
  add_matrix(specs, layer, "self_attn.k_proj", key, hidden, config.biases.qkv);
  add_matrix(specs, layer, "self_attn.v_proj", key, hidden, config.biases.qkv);
  if (config.qk_norm) {
    specs.push_back({layer_weight_name(layer, "self_attn.q_norm.weight"), 1, config.head_dim, WeightRole::kNorm});
    specs.push_back({layer_weight_name(layer, "self_attn.k_norm.weight"), 1, config.head_dim, WeightRole::kNorm});
  }
  add_matrix(specs, layer, "self_attn.o_proj", hidden, query, config.biases.output);
  specs.push_back({layer_weight_name(layer, "post_attention_layernorm.weight"), 1, hidden, WeightRole::kNorm});
  add_matrix(specs, layer, "mlp.gate_proj", config.intermediate, hidden, config.biases.mlp);
  add_matrix(specs, layer, "mlp.up_proj", config.intermediate, hidden, config.biases.mlp);
  add_matrix(specs, layer, "mlp.down_proj", hidden, config.intermediate, config.biases.mlp);
}

// Tensors that some files carry and no forward pass needs.
bool is_harmless_surplus(const std::string& name, const ModelConfig& config) {
  return name.ends_with("rotary_emb.inv_freq") || (config.tied_embeddings && name == kHeadName);
}

// The format that safetensors calls `name`; none: not one that weights may have.
std::optional<WeightFormat> parse_format(const std::string& name) {
  constexpr std::array<std::pair<const char*, WeightKind>, 3> kNames = {
      {{"F32", WeightKind::kF32}, {"BF16", WeightKind::kBF16}, {"F16", WeightKind::kF16}}};
  for (const auto& [known, kind] : kNames) {
    if (name == known) {
      return WeightFormat{kind};
    }
  }
  return std::nullopt;
}

class SafetensorsWeights final : public WeightSource {
 public:
  SafetensorsWeights(SafetensorsFolder folder, const Quantisation& quantisation)
      : folder_(std::move(folder)), quantised_(folder_, quantisation) {}

  // Checks the folder against the config; see open_safetensors_weights.
  absl::Status check(const std::filesystem::path& folder, const ModelConfig& config);

  absl::StatusOr<WeightTensor> fetch(const WeightSpec& spec) override;
  void release(const WeightSpec& spec) override {
    blocks_.give_back(spec.name);
    quantised_.release(spec);
  }
  const StoredWeights& stored() const override { return stored_; }
  std::string note() const override { return note_; }

 private:
  // A tensor of the files and its format.
  struct Found {
    const SafetensorsFolder::Tensor* tensor;
    WeightFormat format;
  };
  absl::StatusOr<Found> find(const WeightSpec& spec) const;

  SafetensorsFolder folder_;
  QuantisedTensors quantised_;
  WeightBlocks blocks_;
  bool embedding_is_head_ = false;  // a tied model saved under the head's name alone
  StoredWeights stored_;
  std::string note_;
};

absl::StatusOr<SafetensorsWeights::Found> SafetensorsWeights::find(const WeightSpec& spec) const {
  const std::string& name = embedding_is_head_ && spec.name == kEmbeddingName ? kHeadName : spec.name;
  const auto found = folder_.tensors().find(name);
  if (found == folder_.tensors().end()) {
    return absl::NotFoundError(fmt::format("tensor {} is missing from the model's files", spec.name));
  }
  const SafetensorsEntry& entry = *found->second.entry;
  std::vector<std::int64_t> shape = {spec.rows, spec.columns};
  if (spec.is_vector()) {
    shape = {spec.columns};
  }
  if (entry.shape != shape) {
    return absl::InvalidArgumentError(fmt::format("tensor {}: expected shape [{}], found [{}]", spec.name,
                                                  fmt::join(shape, ", "), fmt::join(entry.shape, ", ")));
  }
  const std::optional<WeightFormat> format = parse_format(entry.dtype);
  if (!format) {
    return absl::InvalidArgumentError(
        fmt::format("tensor {}: expected type F32, F16 or BF16, found {}", spec.name, entry.dtype));
  }
  return Found{&found->second, *format};
}

absl::Status SafetensorsWeights::check(const std::filesystem::path& folder, const ModelConfig& config) {
  const auto& tensors = folder_.tensors();
  embedding_is_head_ = config.tied_embeddings && tensors.count(kEmbeddingName) == 0 && tensors.count(kHeadName) != 0;
  const auto named = [&](const absl::Status& status) {
    return absl::Status(status.code(), fmt::format("{}: {}", folder.string(), std::string(status.message())));
  };
  std::set<std::string> wanted;
  for (const WeightSpec& spec : weight_specs(config)) {
    if (quantised_.holds(spec)) {
      const absl::StatusOr<QuantisedTensors::Facts> facts = quantised_.check(spec);
      if (!facts.ok()) {
        return named(facts.status());
      }
      wanted.insert(facts->names.begin(), facts->names.end());
      stored_.add(spec.name, facts->stored);
      continue;
    }
    const absl::StatusOr<Found> found = find(spec);
    if (!found.ok()) {
      return named(found.status());
    }
    wanted.insert(spec.name);
    stored_.add(spec.name, {.format = found->format, .bytes = found->tensor->bytes()});
  }
  std::size_t surplus = 0;
  for (const auto& [name, tensor] : tensors) {
    if (wanted.count(name) == 0 && !is_harmless_surplus(name, config)) {
      note_ = ++surplus == 1 ? name : note_;
    }
  }
  if (surplus > 0) {
    note_ = fmt::format("{}: {} tensors are no part of a {} with this config.json and are ignored; the first is {}",
                        folder.string(), surplus, config.architecture, note_);
  }
  return absl::OkStatus();
}

absl::StatusOr<WeightTensor> SafetensorsWeights::fetch(const WeightSpec& spec) {
  if (quantised_.holds(spec)) {
    return quantised_.fetch(spec);
  }
  COPPICE_ASSIGN_OR_RETURN(const Found found, find(spec));
  const std::size_t bytes = found.tensor->bytes();
  std::byte* data = blocks_.lend(spec.name, bytes);
  const auto inspect = [&](std::span<const std::byte> part) {
    return has_non_finite(found.format, part)
               ? absl::InvalidArgumentError(
                     fmt::format("tensor {}: holds NaN or infinity; the model's files are damaged", spec.name))
               : absl::OkStatus();
  };
  COPPICE_RETURN_IF_ERROR(found.tensor->read({data, bytes}, inspect));
  return WeightTensor({{data, bytes}, found.format, spec.rows, spec.columns, {}});
}

}  // namespace

std::string layer_weight_name(std::int32_t layer, const char* name) {
  return fmt::format("model.layers.{}.{}", layer, name);
}

std::vector<WeightSpec> weight_specs(const ModelConfig& config) {
  std::vector<WeightSpec> specs;
  specs.push_back({kEmbeddingName, config.vocab, config.hidden, WeightRole::kEmbedding});
  for (std::int32_t layer = 0; layer < config.layers; ++layer) {
    add_layer(specs, config, layer);
  }
  specs.push_back({kFinalNormName, 1, config.hidden, WeightRole::kNorm});
  if (!config.tied_embeddings) {
    specs.push_back({kHeadName, config.vocab, config.hidden, WeightRole::kMatrix});
  }
  return specs;
}

std::int64_t parameter_count(const ModelConfig& config) {
  std::int64_t count = 0;
  for (const WeightSpec& spec : weight_specs(config)) {
    count += spec.elements();
  }
  return count;
}

StoredWeights stored_as(const ModelConfig& config, WeightFormat format) {
  StoredWeights stored;
  for (const WeightSpec& spec : weight_specs(config)) {
    stored.add(spec.name, {.format = format, .bytes = format.bytes(spec.rows, spec.columns)});
  }
  return stored;
}

absl::StatusOr<std::unique_ptr<WeightSource>> open_safetensors_weights(const std::filesystem::path& folder,
                                                                       const ModelConfig& config) {
  COPPICE_ASSIGN_OR_RETURN(SafetensorsFolder opened, SafetensorsFolder::open(folder));
  auto weights = std::make_unique<SafetensorsWeights>(std::move(opened), config.quantisation);
  COPPICE_RETURN_IF_ERROR(weights->check(folder, config));
  return weights;
}

}  // namespace coppice::models
