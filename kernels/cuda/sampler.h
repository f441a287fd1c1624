// Sampling on the GPU, host side: packs the rows' requests, starts the kernel (sample.cuh), unpacks the answers.
#pragma once

#include <cstddef>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/sample_pack.h"
#include "kernels/cuda/staging.h"
#include "kernels/sampling.h"

namespace coppice::kernels::cuda {

// Owner: the backend. Thread: its caller.
class CudaSampler {
 public:
  // ERRORS: ResourceExhausted.
  static absl::StatusOr<CudaSampler> create(cudaStream_t stream);

  // Waits for the device.
  void sample(const Matrix& logits, std::span<const SamplingRow> requests, std::span<SamplingResult> results,
              Staging& staging);

 private:
  void reserve_answers(std::size_t rows, std::size_t tops);

  cudaStream_t stream_ = nullptr;
  PackedSampling packed_;
  Buffer rows_;
  Buffer edits_;
  Buffer saved_;
  Buffer allowed_;
  Buffer answers_;  // answers, then tops
  Buffer fetched_;  // the same, page-locked
};

}  // namespace coppice::kernels::cuda
