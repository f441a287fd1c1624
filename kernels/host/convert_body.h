// Conversion of stored numbers to f32 and bf16, one table per instruction set: for weights on their way to a device,
// and for rows of the CPU's own operations.
#pragma once

#include <cstdint>

#include "kernels/formats.h"
#include "kernels/host/isa.h"

namespace coppice::kernels::cpu {

// A table of functions; immutable.
struct ConvertBody {
  // out = `count` numbers of `type` as f32, or as bf16 (rounded to nearest even).
  void (*to_f32)(const void* row, ComputeType type, std::int64_t count, float* out);
  void (*to_bf16)(const void* row, ComputeType type, std::int64_t count, std::uint16_t* out);
};

COPPICE_DECLARE_BODY(ConvertBody, convert_body)

}  // namespace coppice::kernels::cpu
