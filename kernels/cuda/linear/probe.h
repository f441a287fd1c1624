// Checks whether this GPU's wgmma sums sixteen products as its mma does. No manual says how either rounds within such a
// step, and a row's bits must not depend on the number of rows. So Hopper's kernels (hopper.cuh) are used beside the
// others only if a few products of each kind of numbers agree in every bit.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/step/staging.h"

namespace coppice::kernels::cuda {

struct HopperVerdict {
  int products = 0;       // compared
  int different = 0;      // of them, in at least one bit
  double difference = 0;  // the largest, as a part of its product's largest element
  std::string worst;      // what kind of numbers that was

  bool agrees() const { return products > 0 && different == 0; }
  std::string words() const;  // in one line; empty when nothing was compared
};

// Compares the products. Takes about a millisecond. REQUIRES: a GPU of compute capability 9.0; prepare_linear() was
// called. ERRORS: FailedPrecondition: the library has no code of Hopper's own; ResourceExhausted, Internal
// (a kernel failed).
absl::StatusOr<HopperVerdict> probe_hopper_products(Staging& staging, cudaStream_t stream);

}  // namespace coppice::kernels::cuda
