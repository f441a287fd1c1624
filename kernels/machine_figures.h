// The best rates of a device, measured at run time: the bounds that benchmarks compare themselves with.
#pragma once

#include <string>

#include "kernels/compute_type.h"

namespace coppice::kernels {

// A value. Rates are of the whole device, the best of several runs; 0 where there is nothing to measure.
struct MachineFigures {
  double read_gb_per_s = 0;  // reading a buffer much larger than the last cache, front to back
  double copy_gb_per_s = 0;  // copying such a buffer; bytes read and bytes written both count, as in STREAM
  double bf16_gflops = 0;    // multiply-adds count two; on a chip without bf16 arithmetic the rate of f32
  double int8_gops = 0;      // the same of u8 x s8 into s32
  double f32_gflops = 0;
  int cores = 0;    // threads measured with; multiprocessors of a GPU
  std::string isa;  // instruction set, or the GPU's name and by what bf16 was measured

  // Of products in a type. Weights in few bits are multiplied as whole numbers where the device has a rate of those,
  // else as numbers of the type.
  double product_gflops(ComputeType type, bool few_bits) const {
    if (few_bits && int8_gops > 0) {
      return int8_gops;
    }
    return type == ComputeType::kF32 ? f32_gflops : bf16_gflops;
  }
};

}  // namespace coppice::kernels
