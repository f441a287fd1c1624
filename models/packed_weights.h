// A model's weights on a device: matrices packed in the device's own layout, the embedding table as rows, norms in
// f32. Made once from a WeightSource, one tensor at a time, so that loading needs little more memory than the result.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/device.h"
#include "models/model_config.h"
#include "models/weights.h"

namespace coppice::models {

// One transformer layer. Norms point into PackedWeights::norms (device memory).
struct PackedLayer {
  const float* input_norm = nullptr;
  const float* attention_norm = nullptr;  // post_attention_layernorm
  const float* query_norm = nullptr;      // null unless the model normalises q and k
  const float* key_norm = nullptr;
  std::unique_ptr<kernels::LinearWeight> qkv;
  std::unique_ptr<kernels::LinearWeight> output;
  std::unique_ptr<kernels::LinearWeight> gate_up;
  std::unique_ptr<kernels::LinearWeight> down;
};

// Immutable after loading. Owner: the transformer. With tied embeddings the table and the packed head are two copies
// of the same numbers: the table is read by rows, the head in the layout of matrix products.
struct PackedWeights {
  kernels::Buffer embedding;
  kernels::Table embedding_table;  // [vocab, hidden]
  kernels::Buffer norms;
  const float* final_norm = nullptr;
  std::vector<PackedLayer> layers;
  std::unique_ptr<kernels::LinearWeight> head;

  // Bytes that one decode step reads: all of the above except the embedding table.
  std::size_t bytes_per_step() const;
};

// Fetches every tensor and packs it. The embedding table keeps GGUF's blocks where packing.storage is empty, else it is
// dense in packing.compute; a head that would be stored in 4 bits is stored in 8, for a vocabulary's small differences.
// `progress(done_bytes, total_bytes)` counts bytes as stored; may be empty. ERRORS: those of the source and of the
// device.
absl::StatusOr<PackedWeights> load_packed_weights(const ModelConfig& config, WeightSource& source,
                                                  kernels::Device& device, const kernels::PackingOptions& packing,
                                                  const std::function<void(std::size_t, std::size_t)>& progress);

}  // namespace coppice::models
