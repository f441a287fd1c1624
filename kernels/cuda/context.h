// The state of one GPU that the three interfaces of its Backend share: its stream, its staging memory, its properties.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/cuda/launch_errors.h"
#include "kernels/cuda/launch_stream.h"
#include "kernels/cuda/linear/linear.h"
#include "kernels/cuda/linear/probe.h"
#include "kernels/cuda/options.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/step/staging.h"

namespace coppice::kernels::cuda {

// Owner: the CUDA backend. Thread: one caller at a time. All work of the GPU is enqueued on one stream, in the order of
// the calls.
struct CudaContext {
  // ERRORS: FailedPrecondition in one line (no driver, no usable GPU), InvalidArgument (no such GPU),
  // ResourceExhausted.
  static absl::StatusOr<std::unique_ptr<CudaContext>> open(const CudaOptions& options);

  // Makes this GPU current for the calling thread: one thread loads a model, another runs the engine.
  void use() const { COPPICE_CUDA_CHECK(cudaSetDevice(gpu.device)); }
  cudaStream_t on() const { return stream.get(); }
  LaunchStream launches() const { return {.stream = stream.get(), .overlap = overlaps()}; }
  // Kernels begin while the one before them still runs: asked for, and the code that was loaded waits where it must.
  bool overlaps() const { return overlap && kernels.wait_for_earlier(); }
  void synchronize() const { COPPICE_CUDA_CHECK(cudaStreamSynchronize(stream.get())); }

  GpuFacts gpu;
  CudaStream stream;
  bool overlap = false;  // was asked for
  int threads = 1;       // that read weights for the GPU
  Staging staging;
  HopperVerdict hopper;  // without products: wgmma was not requested
  LoadedKernels kernels;
  LinearRings rings;
  LaunchErrors errors;
};

}  // namespace coppice::kernels::cuda
