// Transformer: the one forward pass of the Llama family, over any device. It knows nothing of requests, caches' owners
// or text: a step is rows of tokens with positions and KV slots, plus an AttentionPlan.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "base/types.h"
#include "kernels/backend.h"
#include "models/model_config.h"

namespace coppice::models {

class WeightSource;  // weights.h: safetensors files or seeded random numbers, fetched by name and expected shape

struct TransformerLimits {
  std::int32_t step_tokens = 0;  // most rows in one step: sizes the activations, allocated once
  std::int32_t step_logits = 0;  // most logits and hidden rows in one step, together
};

// Owner: the program's main object. Thread: the engine's. Holds packed weights and one set of activations.
class Transformer {
 public:
  // `progress(done_bytes, total_bytes)` is called while weights load; may be empty. ERRORS: Unimplemented (formats that
  // the device lacks), those of the source and of the backend.
  static absl::StatusOr<std::unique_ptr<Transformer>> load(
      const ModelConfig& config, WeightSource& source, kernels::Backend& backend, const kernels::ModelFormats& formats,
      const TransformerLimits& limits, const std::function<void(std::size_t, std::size_t)>& progress);
  virtual ~Transformer() = default;

  virtual const ModelConfig& config() const = 0;
  virtual const kernels::ModelFormats& formats() const = 0;
  // Bytes of weights that one decode step must read (embedding rows excepted), for the roofline.
  virtual std::size_t bytes_per_step() const = 0;
  // Enqueues the step's operations; returns logits(logits rows of the step), valid until the next call. Which
  // operations, and on which memory, depends on the numbers of rows alone, so that a device may record them. REQUIRES:
  // sizes within the limits; the step was prepared (StepRunner::prepare) with attention_parameters().
  virtual kernels::Matrix forward(const kernels::LoadedStep& step, kernels::KvCache& cache) = 0;
  // Where forward() leaves the first `rows` rows of logits: f32 [rows, vocab].
  virtual kernels::Matrix logits(std::int64_t rows) const = 0;
  // Where forward() leaves the first `rows` final hidden states, those that logits are computed from, with the last
  // norm applied: f32 [rows, hidden].
  virtual kernels::Matrix hidden_states(std::int64_t rows) const = 0;
  virtual const kernels::AttentionParameters& attention_parameters() const = 0;
  kernels::KvGeometry kv_geometry(std::int32_t page_size, std::int32_t pages) const;
};

// The compute type that `--dtype auto` means, and one line for the log where it is not the stored format's own.
struct ComputeChoice {
  kernels::ComputeType type = kernels::ComputeType::kF32;
  std::string note;
};

// The stored format's own type (natural_compute) where the device has it at full speed; else bf16 where it has that,
// else f32.
ComputeChoice choose_compute(kernels::WeightFormat stored, const kernels::Device& device);

}  // namespace coppice::models
