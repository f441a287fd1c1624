// The row-wise kernels: embedding, RMSNorm, SwiGLU, gathering of rows. One block a row (and a span of columns), four
// neighbours a thread and step; what a thread adds up, and in which order, depends on the number of columns alone.
#pragma once

#include <device/primitives.cuh>

#include "base/types.h"
#include "kernels/cuda/collective.cuh"

namespace coppice::kernels::cuda {

inline constexpr std::int32_t kRowThreads = 256;           // of a block: 8 warps, a row of 1,024 columns in one step
inline constexpr std::int32_t kRowSpan = 4 * kRowThreads;  // columns that a block reads in one step

using Four = Vector<float, 4>;

// Columns [column, column + 4) of a row as floats, zeros from `columns` on. `whole`: columns is a multiple of 4 and
// rows are aligned for it.
template <typename Element>
COPPICE_DEVICE Four load_four(Global<const Element> row, std::int32_t column, std::int32_t columns, bool whole) {
  Four out;
  if (whole) {
    const auto in = load_as<Vector<Element, 4>>(row + column);
    for (std::int32_t i = 0; i < 4; ++i) {
      out.at[i] = to_float(in.at[i]);
    }
    return out;
  }
  for (std::int32_t i = 0; i < 4; ++i) {
    out.at[i] = column + i < columns ? to_float(static_cast<Element>(row[column + i])) : 0.0F;
  }
  return out;
}

template <typename Element>
COPPICE_DEVICE void store_four(Global<Element> row, std::int32_t column, std::int32_t columns, bool whole,
                               const Four& values) {
  if (whole) {
    Vector<Element, 4> out;
    for (std::int32_t i = 0; i < 4; ++i) {
      out.at[i] = from_float<Element>(values.at[i]);
    }
    store_as(row + column, out);
    return;
  }
  for (std::int32_t i = 0; i < 4; ++i) {
    if (column + i < columns) {
      row[column + i] = from_float<Element>(values.at[i]);
    }
  }
}

// What every row-wise kernel has in common. Blocks: one a row; blocks_y: spans of kRowSpan columns.
struct RowKernel {
  static constexpr std::int32_t kThreadsMax = kRowThreads;  // of a block
  // 1,024 threads, for loads in flight; chosen, not measured.
  static constexpr std::int32_t kBlocksPerMultiprocessor = 4;
  static constexpr std::int32_t kSharedBytesMax = 0;  // of a block; RMSNorm: a float for each warp
};

// out[i, :] = table[tokens[i], :].
template <typename Element>
struct EmbedKernel : RowKernel {
  struct Params {
    Global<const TokenId> tokens;
    Global<const Element> table;
    std::int64_t table_stride;
    Global<float> out;
    std::int64_t out_stride;
    std::int32_t columns;
    bool whole;
  };

  static COPPICE_DEVICE void run(const Params& params) {
    const std::int32_t row = block_index();
    const std::int32_t column = block_index_y() * kRowSpan + 4 * thread_index();
    if (column < params.columns) {
      const TokenId token = params.tokens[row];
      const Four values =
          load_four<Element>(params.table + token * params.table_stride, column, params.columns, params.whole);
      store_four<float>(params.out + row * params.out_stride, column, params.columns, params.whole, values);
    }
  }
};

// out[i, :] = in[indices[i], :].
struct GatherKernel : RowKernel {
  struct Params {
    Global<const float> in;
    std::int64_t in_stride;
    Global<const std::int32_t> indices;
    Global<float> out;
    std::int64_t out_stride;
    std::int32_t columns;
    bool whole;
  };

  static COPPICE_DEVICE void run(const Params& params) {
    const std::int32_t row = block_index();
    const std::int32_t column = block_index_y() * kRowSpan + 4 * thread_index();
    if (column < params.columns) {
      const std::int32_t source = params.indices[row];
      const Four values = load_four<float>(params.in + source * params.in_stride, column, params.columns, params.whole);
      store_four<float>(params.out + row * params.out_stride, column, params.columns, params.whole, values);
    }
  }
};

// out[i, :] = x[i, :] / rms(x[i, :]) * weight; one block does a whole row.
template <typename Element>
struct RmsNormKernel : RowKernel {
  // Of a block; RMSNorm: a float for each warp.
  static constexpr std::int32_t kSharedBytesMax = kRowThreads / kWarpLanes * 4;

  struct Params {
    Global<const float> x;
    std::int64_t x_stride;
    Global<const float> weight;
    Global<Element> out;
    std::int64_t out_stride;
    std::int32_t columns;
    float epsilon;
    bool whole;
  };

  static COPPICE_DEVICE void run(const Params& params) {
    const std::int32_t row = block_index();
    const Global<const float> x = params.x + row * params.x_stride;
    const Global<Element> out = params.out + row * params.out_stride;
    float squares = 0.0F;
    for (std::int32_t column = 4 * thread_index(); column < params.columns; column += kRowSpan) {
      const Four values = load_four<float>(x, column, params.columns, params.whole);
      for (std::int32_t i = 0; i < 4; ++i) {
        squares = fmaf(values.at[i], values.at[i], squares);
      }
    }
    squares = block_sum(squares, shared_array<float>(0));
    const float scale = 1.0F / sqrtf(squares / static_cast<float>(params.columns) + params.epsilon);
    for (std::int32_t column = 4 * thread_index(); column < params.columns; column += kRowSpan) {
      Four values = load_four<float>(x, column, params.columns, params.whole);
      const Four weights = load_four<float>(params.weight, column, params.columns, params.whole);
      for (std::int32_t i = 0; i < 4; ++i) {
        values.at[i] = values.at[i] * scale * weights.at[i];
      }
      store_four<Element>(out, column, params.columns, params.whole, values);
    }
  }
};

// out[i, j] = silu(gate_up[i, j]) * gate_up[i, columns + j].
template <typename In, typename Out>
struct SwigluKernel : RowKernel {
  struct Params {
    Global<const In> gate_up;
    std::int64_t gate_up_stride;
    Global<Out> out;
    std::int64_t out_stride;
    std::int32_t columns;
    bool whole;
  };

  static COPPICE_DEVICE void run(const Params& params) {
    const std::int32_t row = block_index();
    const std::int32_t column = block_index_y() * kRowSpan + 4 * thread_index();
    if (column < params.columns) {
      const Global<const In> gate_row = params.gate_up + row * params.gate_up_stride;
      Four values = load_four<In>(gate_row, column, params.columns, params.whole);
      const Four up = load_four<In>(gate_row + params.columns, column, params.columns, params.whole);
      for (std::int32_t i = 0; i < 4; ++i) {
        values.at[i] = values.at[i] / (1.0F + expf(-values.at[i])) * up.at[i];
      }
      store_four<Out>(params.out + row * params.out_stride, column, params.columns, params.whole, values);
    }
  }
};

}  // namespace coppice::kernels::cuda
