// How fast a backend multiplies rows with one weight that no cache holds: the core of `coppice bench linear`. Uses the
// Backend interface alone, so it measures any device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace coppice::kernels {

struct LinearBenchOptions {
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  PackingOptions packing;
  double seconds = 0.3;                   // how long to repeat a product
  std::size_t cold_bytes = 128ULL << 20;  // weights take turns until they are more than this: more than a last cache
};

// A product's weights, packed once for every number of rows. Owner: the benchmark. One thread; `backend` outlives it.
class LinearBench {
 public:
  // Random weights. ERRORS: as Device::pack_linear.
  static absl::StatusOr<LinearBench> make(const LinearBenchOptions& options, Backend& backend);

  // Microseconds of a product with `rows` rows: the median of the repetitions. ERRORS: ResourceExhausted.
  absl::StatusOr<double> measure(std::int64_t rows);
  // Of one weight.
  std::size_t weight_bytes() const { return weights_.front()->bytes(); }

 private:
  LinearBench(const LinearBenchOptions& options, Backend& backend) : options_(options), backend_(&backend) {}

  LinearBenchOptions options_;
  Backend* backend_;
  std::vector<std::unique_ptr<LinearWeight>> weights_;
};

}  // namespace coppice::kernels
