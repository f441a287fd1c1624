// Loading weights onto a device (packed_weights.h).
#include "models/packed_weights.h"

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "models/float_formats.h"
#include "models/head_packing.h"

namespace coppice::models {
namespace {

using kernels::HostWeight;
using kernels::LinearWeight;
using kernels::PackingOptions;

// Bytes of the embedding table converted at a time: large enough for a fast copy to the device, small beside a model.
constexpr std::size_t kConvertBytes = std::size_t{4} << 20;
constexpr std::size_t kNormAlignment = 16;  // floats in a cache line

std::size_t aligned_norm(std::int64_t columns) {
  return (static_cast<std::size_t>(columns) + kNormAlignment - 1) / kNormAlignment * kNormAlignment;
}

class Loader {
 public:
  Loader(const ModelConfig& config, WeightSource& source, kernels::Device& device, const PackingOptions& packing,
         const std::function<void(std::size_t, std::size_t)>& progress)
      : config_(config), source_(source), device_(device), packing_(packing), progress_(progress) {
    for (WeightSpec& spec : weight_specs(config)) {
      specs_.emplace(spec.name, std::move(spec));
    }
  }

  absl::StatusOr<PackedWeights> load();

 private:
  const WeightSpec& spec(const std::string& name) const {
    const auto found = specs_.find(name);
    COPPICE_CHECK(found != specs_.end(), "the forward pass asks for a tensor that weight_specs does not list");
    return found->second;
  }
  void count_done(const WeightTensor& tensor, const WeightSpec& spec);

  absl::Status load_embedding(PackedWeights& packed);
  // REQUIRES: `format` is the table's own or dense in the compute type.
  absl::Status upload_table(const HostWeight& table, kernels::WeightFormat format, const kernels::Buffer& buffer);
  absl::Status allocate_norms(PackedWeights& packed);
  absl::StatusOr<const float*> load_norm(const std::string& name, const PackedWeights& packed);
  absl::StatusOr<PackedLayer> load_layer(std::int32_t layer, const PackedWeights& packed);
  // One packed matrix from projections stacked on their rows: {"self_attn.q_proj", …}.
  absl::StatusOr<std::unique_ptr<LinearWeight>> load_linear(std::int32_t layer, std::span<const char* const> parts,
                                                            bool bias);

  const ModelConfig& config_;
  WeightSource& source_;
  kernels::Device& device_;
  const PackingOptions packing_;
  const std::function<void(std::size_t, std::size_t)>& progress_;
  std::map<std::string, WeightSpec> specs_;
  std::size_t done_bytes_ = 0;
  std::size_t norms_used_ = 0;  // floats of the norms buffer
};

void Loader::count_done(const WeightTensor& tensor, const WeightSpec& spec) {
  done_bytes_ += tensor.view().bytes.size();
  source_.release(spec);
  if (progress_) {
    progress_(done_bytes_, source_.stored_bytes());
  }
}

absl::Status Loader::upload_table(const HostWeight& table, kernels::WeightFormat format,
                                  const kernels::Buffer& buffer) {
  const auto columns = static_cast<std::size_t>(table.columns);
  const std::size_t device_row = format.bytes(1, table.columns);
  const auto step = std::max<std::int64_t>(1, static_cast<std::int64_t>(kConvertBytes / (columns * sizeof(float))));
  std::vector<std::byte> converted;
  for (std::int64_t row = 0; row < table.rows; row += step) {
    const std::int64_t rows = std::min(step, table.rows - row);
    const HostWeight part = table.rows_from(row, rows);
    const std::size_t bytes = static_cast<std::size_t>(rows) * device_row;
    const std::byte* source = part.bytes.data();
    if (part.format != format) {
      converted.resize(bytes);
      convert(part, packing_.compute, converted);
      source = converted.data();
    }
    device_.upload(source, static_cast<std::byte*>(buffer.data()) + static_cast<std::size_t>(row) * device_row, bytes);
    device_.synchronize();  // the host copy is reused at once
  }
  return absl::OkStatus();
}

absl::Status Loader::load_embedding(PackedWeights& packed) {
  const WeightSpec& wanted = spec(kEmbeddingName);
  COPPICE_ASSIGN_OR_RETURN(const WeightTensor tensor, source_.fetch(wanted));
  const HostWeight& table = tensor.view();
  const bool keeps_blocks = !packing_.storage && kernels::is_quantised(table.format) && table.scales.empty();
  const kernels::WeightFormat format = keeps_blocks ? table.format : kernels::dense_format(packing_.compute);
  COPPICE_ASSIGN_OR_RETURN(packed.embedding, device_.allocate(format.bytes(wanted.rows, wanted.columns)));
  packed.embedding_table = {packed.embedding.data(), format, wanted.rows, wanted.columns};
  COPPICE_RETURN_IF_ERROR(upload_table(table, format, packed.embedding));
  if (config_.tied_embeddings) {
    COPPICE_ASSIGN_OR_RETURN(packed.head,
                             device_.pack_linear(std::span(&tensor.view(), 1), {}, head_packing(packing_)));
  }
  count_done(tensor, wanted);
  return absl::OkStatus();
}

absl::Status Loader::allocate_norms(PackedWeights& packed) {
  std::size_t floats = 0;
  for (const auto& [name, wanted] : specs_) {
    floats += wanted.role == WeightRole::kNorm ? aligned_norm(wanted.columns) : 0;
  }
  COPPICE_ASSIGN_OR_RETURN(packed.norms, device_.allocate(floats * sizeof(float)));
  return absl::OkStatus();
}

absl::StatusOr<const float*> Loader::load_norm(const std::string& name, const PackedWeights& packed) {
  const WeightSpec& wanted = spec(name);
  COPPICE_ASSIGN_OR_RETURN(const WeightTensor tensor, source_.fetch(wanted));
  std::vector<float> floats(static_cast<std::size_t>(wanted.columns));
  convert_to_float(tensor.view(), floats);
  float* target = static_cast<float*>(packed.norms.data()) + norms_used_;
  norms_used_ += aligned_norm(wanted.columns);
  device_.upload(floats.data(), target, floats.size() * sizeof(float));
  device_.synchronize();
  count_done(tensor, wanted);
  return target;
}

absl::StatusOr<std::unique_ptr<LinearWeight>> Loader::load_linear(std::int32_t layer,
                                                                  std::span<const char* const> parts, bool bias) {
  std::vector<WeightTensor> tensors;
  std::vector<const WeightSpec*> wanted;
  for (const char* suffix : {".weight", ".bias"}) {
    for (const char* part : parts) {
      if (bias || suffix[1] == 'w') {
        wanted.push_back(&spec(layer_weight_name(layer, (std::string(part) + suffix).c_str())));
        COPPICE_ASSIGN_OR_RETURN(WeightTensor tensor, source_.fetch(*wanted.back()));
        tensors.push_back(std::move(tensor));
      }
    }
  }
  std::vector<HostWeight> views;
  for (const WeightTensor& tensor : tensors) {
    views.push_back(tensor.view());
  }
  const std::span<const HostWeight> all(views);
  COPPICE_ASSIGN_OR_RETURN(std::unique_ptr<LinearWeight> packed,
                           device_.pack_linear(all.first(parts.size()), all.subspan(parts.size()), packing_));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    count_done(tensors[i], *wanted[i]);
  }
  return packed;
}

absl::StatusOr<PackedLayer> Loader::load_layer(std::int32_t layer, const PackedWeights& packed) {
  PackedLayer loaded;
  const auto norm = [&](const char* name) { return load_norm(layer_weight_name(layer, name), packed); };
  COPPICE_ASSIGN_OR_RETURN(loaded.input_norm, norm("input_layernorm.weight"));
  COPPICE_ASSIGN_OR_RETURN(loaded.attention_norm, norm("post_attention_layernorm.weight"));
  if (config_.qk_norm) {
    COPPICE_ASSIGN_OR_RETURN(loaded.query_norm, norm("self_attn.q_norm.weight"));
    COPPICE_ASSIGN_OR_RETURN(loaded.key_norm, norm("self_attn.k_norm.weight"));
  }
  constexpr const char* kQkv[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
  constexpr const char* kOutput[] = {"self_attn.o_proj"};
  constexpr const char* kGateUp[] = {"mlp.gate_proj", "mlp.up_proj"};
  constexpr const char* kDown[] = {"mlp.down_proj"};
  COPPICE_ASSIGN_OR_RETURN(loaded.qkv, load_linear(layer, kQkv, config_.biases.qkv));
  COPPICE_ASSIGN_OR_RETURN(loaded.output, load_linear(layer, kOutput, config_.biases.output));
  COPPICE_ASSIGN_OR_RETURN(loaded.gate_up, load_linear(layer, kGateUp, config_.biases.mlp));
  COPPICE_ASSIGN_OR_RETURN(loaded.down, load_linear(layer, kDown, config_.biases.mlp));
  return loaded;
}

absl::StatusOr<PackedWeights> Loader::load() {
  PackedWeights packed;
  COPPICE_RETURN_IF_ERROR(allocate_norms(packed));
  COPPICE_RETURN_IF_ERROR(load_embedding(packed));
  for (std::int32_t layer = 0; layer < config_.layers; ++layer) {
    COPPICE_ASSIGN_OR_RETURN(PackedLayer loaded, load_layer(layer, packed));
    packed.layers.push_back(std::move(loaded));
  }
  COPPICE_ASSIGN_OR_RETURN(packed.final_norm, load_norm(kFinalNormName, packed));
  if (!config_.tied_embeddings) {
    const WeightSpec& wanted = spec(kHeadName);
    COPPICE_ASSIGN_OR_RETURN(const WeightTensor tensor, source_.fetch(wanted));
    COPPICE_ASSIGN_OR_RETURN(packed.head,
                             device_.pack_linear(std::span(&tensor.view(), 1), {}, head_packing(packing_)));
    count_done(tensor, wanted);
  }
  return packed;
}

}  // namespace

std::size_t PackedWeights::bytes_per_step() const {
  std::size_t bytes = norms.bytes() + head->bytes();
  for (const PackedLayer& layer : layers) {
    bytes += layer.qkv->bytes() + layer.output->bytes() + layer.gate_up->bytes() + layer.down->bytes();
  }
  return bytes;
}

absl::StatusOr<PackedWeights> load_packed_weights(const ModelConfig& config, WeightSource& source,
                                                  kernels::Device& device, const PackingOptions& packing,
                                                  const std::function<void(std::size_t, std::size_t)>& progress) {
  return Loader(config, source, device, packing, progress).load();
}

}  // namespace coppice::models
