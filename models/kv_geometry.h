// What a model asks of its KV cache: the one place where a config becomes a geometry.
#pragma once

#include <cstdint>

#include "kernels/device.h"
#include "models/model_config.h"

namespace coppice::models {

inline kernels::KvGeometry kv_geometry(const ModelConfig& config, kernels::KvFormat format, std::int32_t page_size,
                                       std::int32_t pages) {
  return {.layers = config.layers,
          .key_heads = config.key_heads,
          .head_dim = config.head_dim,
          .page_size = page_size,
          .pages = pages,
          .format = format};
}

}  // namespace coppice::models
