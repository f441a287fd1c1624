// The weights and the config of a model in a GGUF file. Tensors have llama.cpp's names there ("blk.0.attn_q.weight"),
// and the rows of queries and keys of the llama architecture stand in another order than in Hugging Face's folders:
// the two halves that rotate together are interleaved.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "models/gguf.h"
#include "models/model_config.h"
#include "models/weights.h"

namespace coppice::models {

// What the file's keys say of the model, as a config.json says it. ERRORS: InvalidArgument naming the key, what came
// and what is allowed; Unimplemented for other architectures.
absl::StatusOr<ModelConfig> gguf_config(const GgufModel& model);

// Checks at once that every tensor of the config is there, with the right shape, in a type that is known. Quantised
// tensors are delivered in their own blocks. `model` may be destroyed after the weights only. ERRORS: NotFound,
// InvalidArgument, Unimplemented, naming the tensor.
absl::StatusOr<std::unique_ptr<WeightSource>> open_gguf_weights(const GgufModel& model, const ModelConfig& config);

}  // namespace coppice::models
