// The inner loops of machine measurement (machine.h), one table per instruction set.
#pragma once

#include <cstdint>

#include "kernels/host/isa.h"

namespace coppice::kernels::cpu {

// A table of functions; immutable. The arithmetic loops return how many operations they did (a multiply-add is two);
// `sink` receives a result, so that the compiler keeps the work.
struct MachineBody {
  // Reads [data, data + bytes), a multiple of 256 bytes, 64-byte aligned; returns a sum of the words.
  std::uint64_t (*read)(const void* data, std::int64_t bytes);
  double (*multiply_f32)(std::int64_t rounds, float* sink);
  double (*multiply_bf16)(std::int64_t rounds, float* sink);
  double (*multiply_int8)(std::int64_t rounds, float* sink);
};

COPPICE_DECLARE_BODY(MachineBody, machine_body)

}  // namespace coppice::kernels::cpu
