// Weights of 16-bit elements from rows to the tiles that the products read (linear.h).
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/linear/linear.h"

namespace coppice::kernels::cuda {

// A thread moves pieces of eight elements; the type does not matter.
struct LinearPackKernel {
  struct Params {
    Global<const Bf16> from;  // row-major
    Global<Bf16> to;          // the whole weight
    std::int64_t row_begin;   // first of `from`
    std::int64_t pieces;
    std::int64_t padded_k;
  };
  static constexpr std::int32_t kThreadsMax = 256;  // of a block
  // 1,024 threads, for loads in flight; chosen, not measured.
  static constexpr std::int32_t kBlocksPerMultiprocessor = 4;
  static constexpr std::int32_t kSharedBytesMax = 0;  // of a block: none

  static COPPICE_DEVICE void run(const Params& params) {
    const std::int64_t row_pieces = params.padded_k / 8;
    for (std::int64_t i = std::int64_t{block_index()} * kThreadsMax + thread_index(); i < params.pieces;
         i += std::int64_t{block_count()} * kThreadsMax) {
      const std::int64_t place =
          linear_weight_place(params.row_begin + i / row_pieces, i % row_pieces * 8, params.padded_k);
      store_as(params.to + place, load_as<Vector<Bf16, 8>>(params.from + i * 8));
    }
  }
};

}  // namespace coppice::kernels::cuda
