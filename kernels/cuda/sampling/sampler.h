// Sampling on the GPU, host side: packs the rows' requests, starts the kernel (sample.cuh), unpacks the answers.
#pragma once

#include <cstddef>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/sampling/pack.h"
#include "kernels/cuda/step/staging.h"
#include "kernels/sampling.h"
#include "kernels/step.h"

namespace coppice::kernels::cuda {

// Owner: the backend. Thread: its caller.
class CudaSampler {
 public:
  // Allocates device and page-locked memory for the largest step, with penalties of some hundred tokens and a mask per
  // row. Masks of more than a segment of Staging grow ordinary memory too, once. ERRORS: ResourceExhausted.
  absl::Status reserve(const StepLimits& limits, cudaStream_t stream);

  // Enqueues the draws and the copy of their answers to page-locked memory. Returns whether memory had to grow.
  bool enqueue(const Matrix& logits, std::span<const SamplingRow> requests, Staging& staging, LaunchStream on);
  // Unpacks the answers. REQUIRES: the stream was waited for; `requests` as they were enqueued.
  void finish(std::span<const SamplingRow> requests, std::span<SamplingResult> results) const;

 private:
  // Brings packed_ to the device in one copy; fills in where its parts are.
  void upload(Staging& staging, SampleCall& call) const;

  PackedSampling packed_;
  Buffer requests_;  // rows, then edits, then masks, then labels
  Buffer saved_;     // one number an edit
  Buffer answers_;   // answers, then tops, then logits of labels
  Buffer fetched_;   // the same, page-locked
};

}  // namespace coppice::kernels::cuda
