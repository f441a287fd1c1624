// The inner loops of our own matrix products, one table per instruction set: for machines and shapes where oneDNN's
// kernels do not promise that a row's result is the same for every number of rows, and for the rows of a decode step
// (linear.cc says which). Every output number is one chain of multiply-adds in ascending order of the input feature, so
// it depends neither on the batch nor on blocking nor on threads.
#pragma once

#include <cstdint>

#include "kernels/host/isa.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cpu {

// Output features of one panel of packed weights (packed_weight.h).
inline constexpr std::int64_t kPanel = 64;

// Rows times one panel. in: f32 [rows, in_stride], zero-padded to whole words. out: f32 [rows, kPanel], contiguous,
// holds the sums so far. A product over all features is several calls with ascending step_begin, the first on zeros.
struct PanelTask {
  const float* in = nullptr;
  std::int64_t in_stride = 0;
  std::int64_t rows = 0;
  const std::uint32_t* words = nullptr;  // the panel's first word
  std::int64_t step_begin = 0;
  std::int64_t step_end = 0;
  float* out = nullptr;
};

// Rows of a tile: with four vectors of sums each, six leave eight of 32 registers for the weights.
inline constexpr std::int64_t kTileRows = 6;

// A step's bf16 rows times one panel of words of two bf16 each, over all its steps: chains of `chain` steps that each
// begin with zero and are added up in rising order. in: words, a row every in_stride of them. out: f32 [rows, kPanel],
// of which `width` numbers a row are written.
struct StepTask {
  const std::uint32_t* in = nullptr;
  std::int64_t in_stride = 0;
  std::int64_t rows = 0;
  const std::uint32_t* words = nullptr;
  bool more = false;       // whether the caller reads on behind this panel: what comes next is fetched meanwhile
  std::int64_t width = 0;  // output features of the panel: 16, 32, 48 or 64
  std::int64_t steps = 0;
  std::int64_t chain = 0;
  float* out = nullptr;
};

// A table of functions; immutable.
struct LinearBody {
  void (*panel_f32)(const PanelTask& task);
  void (*panel_bf16)(const PanelTask& task);
  // By the machine's own product of bf16 pairs; null where it has none.
  void (*step_bf16)(const StepTask& task);
  // Writes one row of a panel: out = sums + bias (null: none), and + out if `adds` (f32 only).
  void (*finish)(const float* sums, const float* bias, bool adds, std::int64_t count, void* out, ComputeType type);
  // out[step * width + row] = word `step` of source row `row`, for 16 rows; rows[i] null: zeros.
  void (*interleave)(const std::uint32_t* const* rows, std::int64_t steps, std::int64_t width, std::uint32_t* out);
};

COPPICE_DECLARE_BODY(LinearBody, linear_body)

}  // namespace coppice::kernels::cpu
