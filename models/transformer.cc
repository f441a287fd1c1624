// The forward pass of the Llama family (transformer.h): embed, then per layer attention and a gated MLP on a residual
// stream, then logits of the requested rows. Llama: arXiv 2302.13971; grouped queries: arXiv 2305.13245.
#include "models/transformer.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status_macros.h"
#include "models/kv_geometry.h"
#include "models/packed_weights.h"
#include "models/rope.h"

namespace coppice::models {
namespace {

using kernels::ComputeType;
using kernels::LinearEpilogue;
using kernels::LoadedStep;
using kernels::Matrix;

// The working memory of one forward pass: allocated once for the largest step, reused by every step. Rows are token
// rows; a step uses the first. The residual stream is f32; what matrix products read is in the compute type.
struct Activations {
  kernels::Matrix residual;   // f32 [step_tokens, hidden]
  kernels::Matrix normed;     // [step_tokens, hidden]
  kernels::Matrix qkv;        // f32 [step_tokens, (query_heads + 2 * key_heads) * head_dim]
  kernels::Matrix query;      // [step_tokens, query_heads * head_dim]
  kernels::Matrix attended;   // [step_tokens, query_heads * head_dim]
  kernels::Matrix gate_up;    // [step_tokens, 2 * intermediate]
  kernels::Matrix activated;  // [step_tokens, intermediate]
  kernels::Matrix outputs;    // f32 [step_logits, hidden]: the residual stream of the step's output rows
  kernels::Matrix logits;     // f32 [step_logits, vocab]
  std::vector<kernels::Buffer> memory;
};

absl::Status allocate(kernels::Device& device, std::int64_t rows, std::int64_t columns, ComputeType type,
                      Matrix& matrix, std::vector<kernels::Buffer>& memory) {
  const std::size_t bytes =
      static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) * kernels::element_bytes(type);
  COPPICE_ASSIGN_OR_RETURN(kernels::Buffer buffer, device.allocate(bytes));
  matrix = buffer.matrix(type, rows, columns);
  memory.push_back(std::move(buffer));
  return absl::OkStatus();
}

// ERRORS: ResourceExhausted.
absl::StatusOr<Activations> make_activations(const ModelConfig& config, ComputeType compute,
                                             const TransformerLimits& limits, kernels::Device& device) {
  const std::int64_t tokens = limits.step_tokens;
  const std::int64_t logits_rows = limits.step_logits;
  const std::int64_t head_dim = config.head_dim;
  const std::int64_t query = config.query_heads * head_dim;
  const std::int64_t qkv = (config.query_heads + 2 * config.key_heads) * head_dim;
  Activations made;
  struct Wanted {
    Matrix* matrix;
    std::int64_t rows;
    std::int64_t columns;
    ComputeType type;
  };
  const Wanted list[] = {
      {&made.residual, tokens, config.hidden, ComputeType::kF32},
      {&made.normed, tokens, config.hidden, compute},
      {&made.qkv, tokens, qkv, ComputeType::kF32},
      {&made.query, tokens, query, compute},
      {&made.attended, tokens, query, compute},
      {&made.gate_up, tokens, std::int64_t{2} * config.intermediate, compute},
      {&made.activated, tokens, config.intermediate, compute},
      {&made.outputs, logits_rows, config.hidden, ComputeType::kF32},
      {&made.logits, logits_rows, config.vocab, ComputeType::kF32},
  };
  for (const Wanted& wanted : list) {
    COPPICE_RETURN_IF_ERROR(allocate(device, wanted.rows, wanted.columns, wanted.type, *wanted.matrix, made.memory));
  }
  return made;
}

class DeviceTransformer final : public Transformer {
 public:
  DeviceTransformer(const ModelConfig& config, kernels::Operations& operations, const kernels::ModelFormats& formats,
                    PackedWeights weights, Activations activations)
      : config_(config),
        operations_(operations),
        formats_(formats),
        weights_(std::move(weights)),
        activations_(std::move(activations)),
        inverse_frequency_(rope_inverse_frequency(config.rope)),
        attention_{config.query_heads, config.key_heads, config.head_dim,
                   1.0F / std::sqrt(static_cast<float>(config.head_dim))} {}

  const ModelConfig& config() const override { return config_; }
  const kernels::ModelFormats& formats() const override { return formats_; }
  std::size_t bytes_per_step() const override { return weights_.bytes_per_step(); }
  Matrix forward(const LoadedStep& step, kernels::KvCache& cache) override;
  Matrix logits(std::int64_t rows) const override { return activations_.logits.first_rows(rows); }
  Matrix hidden_states(std::int64_t rows) const override { return activations_.outputs.first_rows(rows); }
  const kernels::AttentionParameters& attention_parameters() const override { return attention_; }

 private:
  void check(const LoadedStep& step, const kernels::KvCache& cache) const;
  kernels::RopeParameters rope(const PackedLayer& layer) const;
  // residual += attention(norm(residual)), for all rows of the step.
  void attend(std::int32_t index, const LoadedStep& step, kernels::KvCache& cache);
  // residual += mlp(norm(residual)).
  void apply_mlp(const PackedLayer& layer, const Matrix& residual);
  // What the step is for: hidden states and logits of its output rows.
  Matrix compute_outputs(const kernels::StepInputs& inputs, const Matrix& residual);

  ModelConfig config_;
  kernels::Operations& operations_;
  kernels::ModelFormats formats_;
  PackedWeights weights_;
  Activations activations_;
  std::vector<float> inverse_frequency_;
  kernels::AttentionParameters attention_;
};

void DeviceTransformer::check(const LoadedStep& step, const kernels::KvCache& cache) const {
  const kernels::StepInputs& inputs = step.inputs;
  const kernels::AttentionPlan& plan = *step.attention.plan;
  const std::size_t tokens = inputs.tokens.size();
  COPPICE_CHECK(tokens > 0 && static_cast<std::int64_t>(tokens) <= activations_.residual.rows,
                "a step has 1 to limits.step_tokens rows");
  COPPICE_CHECK(inputs.positions.size() == tokens && inputs.slots.size() == tokens,
                "a step has one position and one slot per token");
  COPPICE_CHECK(static_cast<std::int64_t>(inputs.output_rows.size()) <= activations_.outputs.rows &&
                    inputs.hidden_count >= 0 && inputs.logits_count() >= 0,
                "a step wants at most limits.step_logits rows of logits and hidden states");
  COPPICE_CHECK(plan.row_count <= static_cast<std::int32_t>(tokens), "the plan is of another step");
  COPPICE_CHECK(plan.window == config_.sliding_window, "the plan has another sliding window than the model");
  const kernels::KvGeometry& geometry = cache.geometry();
  COPPICE_CHECK(geometry.layers == config_.layers && geometry.key_heads == config_.key_heads &&
                    geometry.head_dim == config_.head_dim && geometry.format == formats_.kv,
                "the cache was made for another model");
}

kernels::RopeParameters DeviceTransformer::rope(const PackedLayer& layer) const {
  return {.query_heads = config_.query_heads,
          .key_heads = config_.key_heads,
          .head_dim = config_.head_dim,
          .rotary_dim = config_.rope.rotary_dim,
          .inverse_frequency = inverse_frequency_.data(),
          .attention_factor = static_cast<float>(config_.rope.attention_factor),
          .query_norm = layer.query_norm,
          .key_norm = layer.key_norm,
          .norm_epsilon = config_.norm_epsilon};
}

void DeviceTransformer::attend(std::int32_t index, const LoadedStep& step, kernels::KvCache& cache) {
  const kernels::StepInputs& inputs = step.inputs;
  const PackedLayer& layer = weights_.layers[static_cast<std::size_t>(index)];
  const auto tokens = static_cast<std::int64_t>(inputs.tokens.size());
  const Matrix residual = activations_.residual.first_rows(tokens);
  const Matrix normed = activations_.normed.first_rows(tokens);
  const Matrix qkv = activations_.qkv.first_rows(tokens);
  const Matrix query = activations_.query.first_rows(tokens);
  const Matrix attended = activations_.attended.first_rows(tokens);
  operations_.rms_norm(residual, layer.input_norm, config_.norm_epsilon, normed);
  operations_.linear(normed, *layer.qkv, LinearEpilogue::kStore, qkv);
  operations_.rope_and_store(qkv, inputs.positions, inputs.slots, rope(layer), cache, index, query);
  operations_.attention(step.attention, query, cache, index, attended);
  operations_.linear(attended, *layer.output, LinearEpilogue::kAdd, residual);
}

void DeviceTransformer::apply_mlp(const PackedLayer& layer, const Matrix& residual) {
  const Matrix normed = activations_.normed.first_rows(residual.rows);
  const Matrix gate_up = activations_.gate_up.first_rows(residual.rows);
  const Matrix activated = activations_.activated.first_rows(residual.rows);
  operations_.rms_norm(residual, layer.attention_norm, config_.norm_epsilon, normed);
  operations_.linear(normed, *layer.gate_up, LinearEpilogue::kStore, gate_up);
  operations_.swiglu(gate_up, activated);
  operations_.linear(activated, *layer.down, LinearEpilogue::kAdd, residual);
}

Matrix DeviceTransformer::forward(const LoadedStep& step, kernels::KvCache& cache) {
  check(step, cache);
  const kernels::StepInputs& inputs = step.inputs;
  const Matrix residual = activations_.residual.first_rows(static_cast<std::int64_t>(inputs.tokens.size()));
  operations_.embed(inputs.tokens, weights_.embedding_table, residual);
  for (std::int32_t layer = 0; layer < config_.layers - 1; ++layer) {
    attend(layer, step, cache);
    apply_mlp(weights_.layers[static_cast<std::size_t>(layer)], residual);
  }
  attend(config_.layers - 1, step, cache);
  return compute_outputs(inputs, residual);
}

// After the last attention only the output rows are read: the others stop there.
Matrix DeviceTransformer::compute_outputs(const kernels::StepInputs& inputs, const Matrix& residual) {
  const std::int64_t logits_count = inputs.logits_count();
  const Matrix logits = this->logits(logits_count);
  if (inputs.output_rows.empty()) {
    return logits;
  }
  const Matrix outputs = activations_.outputs.first_rows(static_cast<std::int64_t>(inputs.output_rows.size()));
  operations_.gather_rows(residual, inputs.output_rows, outputs);
  apply_mlp(weights_.layers.back(), outputs);
  if (logits_count > 0) {
    const Matrix normed = activations_.normed.first_rows(logits_count);
    operations_.rms_norm(outputs.rows_from(inputs.hidden_count), weights_.final_norm, config_.norm_epsilon, normed);
    operations_.linear(normed, *weights_.head, LinearEpilogue::kStore, logits);
  }
  if (inputs.hidden_count > 0) {
    const Matrix hidden = hidden_states(inputs.hidden_count);
    operations_.rms_norm(hidden, weights_.final_norm, config_.norm_epsilon, hidden);
  }
  return logits;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transformer>> Transformer::load(
    const ModelConfig& config, WeightSource& source, kernels::Backend& backend, const kernels::ModelFormats& formats,
    const TransformerLimits& limits, const std::function<void(std::size_t, std::size_t)>& progress) {
  COPPICE_CHECK(limits.step_tokens > 0 && limits.step_logits > 0, "limits are positive");
  COPPICE_CHECK(limits.step_logits <= limits.step_tokens, "output rows have the activations of token rows");
  kernels::Device& device = backend.device();
  COPPICE_RETURN_IF_ERROR(device.check_formats(formats));
  COPPICE_ASSIGN_OR_RETURN(Activations activations, make_activations(config, formats.compute, limits, device));
  COPPICE_ASSIGN_OR_RETURN(PackedWeights weights,
                           load_packed_weights(config, source, device, formats.packing(), progress));
  return std::make_unique<DeviceTransformer>(config, backend.operations(), formats, std::move(weights),
                                             std::move(activations));
}

kernels::KvGeometry Transformer::kv_geometry(std::int32_t page_size, std::int32_t pages) const {
  return models::kv_geometry(config(), formats().kv, page_size, pages);
}

ComputeChoice choose_compute(kernels::WeightFormat stored, const kernels::Device& device) {
  const auto is_fast = [&](ComputeType type) {
    return device.supports(kernels::dense_packing(type)) == kernels::Support::kFull;
  };
  const ComputeType natural = kernels::natural_compute(stored);
  if (is_fast(natural)) {
    return {natural, ""};
  }
  const ComputeType chosen = is_fast(ComputeType::kBF16) ? ComputeType::kBF16 : ComputeType::kF32;
  return {chosen, fmt::format("weights stored as {} are computed with as {} on {}", kernels::format_name(stored),
                              kernels::format_name(chosen), device.name())};
}

}  // namespace coppice::models
