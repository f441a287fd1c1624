// How the head's matrix is packed: the one that a vocabulary's small differences hang on.
#pragma once

#include "kernels/formats.h"

namespace coppice::models {

// As the other matrices, but in 8 bits where those are stored in 4.
constexpr kernels::PackingOptions head_packing(kernels::PackingOptions packing) {
  if (packing.storage && packing.storage->kind == kernels::WeightKind::kInt4) {
    packing.storage = kernels::WeightFormat{kernels::WeightKind::kInt8};
  }
  return packing;
}

}  // namespace coppice::models
