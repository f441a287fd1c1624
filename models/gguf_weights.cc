// Tensors by Hugging Face's names out of a GGUF file (gguf_weights.h).
#include "models/gguf_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "models/float_formats.h"
#include "models/weight_blocks.h"

namespace coppice::models {
namespace {

using kernels::WeightFormat;
using kernels::WeightKind;

struct Name {
  std::string_view here;
  std::string_view there;
};
constexpr std::array kNames = {Name{kEmbeddingName, "token_embd.weight"}, Name{kFinalNormName, "output_norm.weight"},
                               Name{kHeadName, "output.weight"}};
// Parts of layers; ".weight" and ".bias" follow in both.
constexpr std::array kParts = {Name{"input_layernorm", "attn_norm"},    Name{"self_attn.q_proj", "attn_q"},
                               Name{"self_attn.k_proj", "attn_k"},      Name{"self_attn.v_proj", "attn_v"},
                               Name{"self_attn.q_norm", "attn_q_norm"}, Name{"self_attn.k_norm", "attn_k_norm"},
                               Name{"self_attn.o_proj", "attn_output"}, Name{"post_attention_layernorm", "ffn_norm"},
                               Name{"mlp.gate_proj", "ffn_gate"},       Name{"mlp.up_proj", "ffn_up"},
                               Name{"mlp.down_proj", "ffn_down"}};

// The file's name of a tensor. REQUIRES: a name of weight_specs().
std::string name_there(std::string_view here) {
  for (const Name& name : kNames) {
    if (name.here == here) {
      return std::string(name.there);
    }
  }
  constexpr std::string_view kLayers = "model.layers.";
  here.remove_prefix(kLayers.size());
  const std::string_view layer = here.substr(0, here.find('.'));
  const std::string_view part = here.substr(layer.size() + 1, here.rfind('.') - layer.size() - 1);
  const auto* const found =
      std::find_if(kParts.begin(), kParts.end(), [part](const Name& name) { return name.here == part; });
  return fmt::format("blk.{}.{}{}", layer, found->there, here.substr(here.rfind('.')));
}

// The format of a type of the file; none: it is not known here.
std::optional<WeightFormat> format_of(const GgufType& type) {
  constexpr std::array kKinds = {
      std::pair{std::string_view("F32"), WeightKind::kF32},   std::pair{std::string_view("BF16"), WeightKind::kBF16},
      std::pair{std::string_view("F16"), WeightKind::kF16},   std::pair{std::string_view("Q4_0"), WeightKind::kQ4_0},
      std::pair{std::string_view("Q4_1"), WeightKind::kQ4_1}, std::pair{std::string_view("Q5_0"), WeightKind::kQ5_0},
      std::pair{std::string_view("Q5_1"), WeightKind::kQ5_1}, std::pair{std::string_view("Q8_0"), WeightKind::kQ8_0},
      std::pair{std::string_view("Q4_K"), WeightKind::kQ4_K}, std::pair{std::string_view("Q5_K"), WeightKind::kQ5_K},
      std::pair{std::string_view("Q6_K"), WeightKind::kQ6_K}};
  for (const auto& [name, kind] : kKinds) {
    if (type.name == name) {
      return WeightFormat{kind};
    }
  }
  return std::nullopt;
}

class GgufWeights final : public WeightSource {
 public:
  GgufWeights(const GgufModel& model, const ModelConfig& config)
      : model_(model), query_heads_(config.query_heads), key_heads_(config.key_heads) {
    // Qwen's rotary halves stay apart in the file.
    is_interleaved_ = config.architecture == "LlamaForCausalLM";
  }

  absl::Status check(const ModelConfig& config);

  absl::StatusOr<WeightTensor> fetch(const WeightSpec& spec) override;
  void release(const WeightSpec& spec) override {
    blocks_.give_back(spec.name);
    stored_.give_back(spec.name);
  }
  const StoredWeights& stored() const override { return stored_weights_; }

 private:
  absl::StatusOr<const GgufModel::Tensor*> find(const WeightSpec& spec) const;
  // Heads whose rows are interleaved in the file; 0: of this tensor none are.
  std::int32_t interleaved_heads(const std::string& name) const;

  const GgufModel& model_;
  const std::int32_t query_heads_;
  const std::int32_t key_heads_;
  bool is_interleaved_ = false;
  WeightBlocks blocks_;
  WeightBlocks stored_;
  StoredWeights stored_weights_;
};

absl::StatusOr<const GgufModel::Tensor*> GgufWeights::find(const WeightSpec& spec) const {
  const std::string name = name_there(spec.name);
  const auto found = model_.tensors().find(name);
  if (found == model_.tensors().end()) {
    return absl::NotFoundError(fmt::format("tensor {} is missing", name));
  }
  const GgufEntry& entry = *found->second.entry;
  std::vector<std::int64_t> shape = {spec.rows, spec.columns};
  if (spec.is_vector()) {
    shape = {spec.columns};
  }
  if (entry.shape != shape) {
    return absl::InvalidArgumentError(fmt::format("tensor {}: expected shape [{}], found [{}]", name,
                                                  fmt::join(shape, ", "), fmt::join(entry.shape, ", ")));
  }
  const std::optional<WeightFormat> format = format_of(*entry.type);
  if (!format) {
    return absl::UnimplementedError(
        fmt::format("tensor {}: type {} is not supported; supported: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, "
                    "Q4_K, Q5_K, Q6_K",
                    name, entry.type->name));
  }
  if (spec.role == WeightRole::kBias && kernels::is_quantised(*format)) {
    return absl::UnimplementedError(
        fmt::format("tensor {}: a bias in {} is not supported; supported: F32, F16, BF16", name, entry.type->name));
  }
  return &found->second;
}

absl::Status GgufWeights::check(const ModelConfig& config) {
  for (const WeightSpec& spec : weight_specs(config)) {
    COPPICE_ASSIGN_OR_RETURN(const GgufModel::Tensor* tensor, find(spec));
    stored_weights_.add(spec.name, {.format = *format_of(*tensor->entry->type),
                                    .bytes = static_cast<std::size_t>(tensor->entry->bytes)});
  }
  return absl::OkStatus();
}

std::int32_t GgufWeights::interleaved_heads(const std::string& name) const {
  if (!is_interleaved_) {
    return 0;
  }
  if (name.find(".q_proj.") != std::string::npos) {
    return query_heads_;
  }
  return name.find(".k_proj.") != std::string::npos ? key_heads_ : 0;
}

// Row of the file that is row `row` here: of a head's rows, 2 i and 2 i + 1 there are i and i + half here.
std::int64_t row_there(std::int64_t row, std::int64_t rows_of_head) {
  if (rows_of_head == 0) {
    return row;
  }
  const std::int64_t half = rows_of_head / 2;
  const std::int64_t inside = row % rows_of_head;
  return row - inside + inside % half * 2 + inside / half;
}

absl::StatusOr<WeightTensor> GgufWeights::fetch(const WeightSpec& spec) {
  COPPICE_ASSIGN_OR_RETURN(const GgufModel::Tensor* const tensor, find(spec));
  const GgufEntry& entry = *tensor->entry;
  std::byte* const stored = stored_.lend(spec.name, static_cast<std::size_t>(entry.bytes));
  const WeightFormat format = format_of(*entry.type).value();
  // A bias of interleaved rows is a column of them.
  const bool is_bias = spec.role == WeightRole::kBias;
  const std::int64_t rows = is_bias ? spec.columns : spec.rows;
  const std::size_t row_bytes = static_cast<std::size_t>(entry.bytes) / static_cast<std::size_t>(rows);
  const std::int32_t heads = interleaved_heads(spec.name);
  const std::int64_t rows_of_head = heads == 0 ? 0 : rows / heads;
  // Rows of one read: about a megabyte, so that its call costs nothing and what it read is still in the core's cache.
  const std::int64_t chunk = std::max<std::int64_t>(1, (std::int64_t{1} << 20) / static_cast<std::int64_t>(row_bytes));
  const std::int64_t chunks = (rows + chunk - 1) / chunk;
  std::vector<absl::Status> statuses(static_cast<std::size_t>(chunks));
#pragma omp parallel for schedule(dynamic) if (chunks > 1)
  for (std::int64_t part = 0; part < chunks; ++part) {
    const std::size_t begin = static_cast<std::size_t>(part * chunk) * row_bytes;
    const std::size_t bytes = static_cast<std::size_t>(std::min(chunk, rows - part * chunk)) * row_bytes;
    statuses[static_cast<std::size_t>(part)] =
        tensor->file->read(static_cast<std::size_t>(tensor->offset) + begin, {stored + begin, bytes});
  }
  for (absl::Status& status : statuses) {
    COPPICE_RETURN_IF_ERROR(std::move(status));
  }
  std::byte* into = stored;
  if (heads != 0) {
    into = blocks_.lend(spec.name, static_cast<std::size_t>(entry.bytes));
    for (std::int64_t row = 0; row < rows; ++row) {
      std::memcpy(into + static_cast<std::size_t>(row) * row_bytes,
                  stored + static_cast<std::size_t>(row_there(row, rows_of_head)) * row_bytes, row_bytes);
    }
    stored_.give_back(spec.name);
  }
  bool is_finite = true;
#pragma omp parallel for schedule(static) reduction(&& : is_finite) if (chunks > 1)
  for (std::int64_t part = 0; part < chunks; ++part) {
    const std::size_t begin = static_cast<std::size_t>(part * chunk) * row_bytes;
    const std::size_t bytes = static_cast<std::size_t>(std::min(chunk, rows - part * chunk)) * row_bytes;
    is_finite = is_finite && !has_non_finite(format, {into + begin, bytes});
  }
  if (!is_finite) {
    return absl::InvalidArgumentError(
        fmt::format("tensor {}: holds NaN or infinity; the model's file is damaged", name_there(spec.name)));
  }
  return WeightTensor({{into, static_cast<std::size_t>(entry.bytes)}, format, spec.rows, spec.columns, {}});
}

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSource>> open_gguf_weights(const GgufModel& model, const ModelConfig& config) {
  auto weights = std::make_unique<GgufWeights>(model, config);
  if (const absl::Status status = weights->check(config); !status.ok()) {
    return absl::Status(status.code(), fmt::format("{}: {}", model.path().string(), std::string(status.message())));
  }
  return weights;
}

}  // namespace coppice::models
