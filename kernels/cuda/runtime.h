// The CUDA runtime for the rest of kernels/cuda: errors as absl::Status; streams, events and memory as owning objects.
// Compiled by the ordinary compiler; launches are in *.cu files.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/check.h"
#include "fmt/format.h"
#include "kernels/cuda/prepare.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cuda {

// Returns OK, ResourceExhausted (memory), FailedPrecondition (no device, old driver) or Internal, with the message
// "what: CUDA's own words".
absl::Status to_status(cudaError_t error, const std::string& what);

// For calls that fail only because of a bug or a broken GPU, inside operations that return nothing.
#define COPPICE_CUDA_CHECK(call)                                                              \
  do {                                                                                        \
    const cudaError_t coppice_cuda_error = (call);                                            \
    COPPICE_CHECK(coppice_cuda_error == cudaSuccess, cudaGetErrorString(coppice_cuda_error)); \
  } while (false)

// Owner of one stream; work on it runs in order. Move-only.
class CudaStream {
 public:
  static absl::StatusOr<CudaStream> create();
  cudaStream_t get() const { return stream_.get(); }

 private:
  struct Destroy {
    void operator()(cudaStream_t stream) const { static_cast<void>(cudaStreamDestroy(stream)); }
  };
  std::unique_ptr<CUstream_st, Destroy> stream_;
};

// Owner of one event. Move-only.
class CudaEvent {
 public:
  // timed: cudaEventElapsedTime may be asked for it.
  static absl::StatusOr<CudaEvent> create(bool timed = false);
  cudaEvent_t get() const { return event_.get(); }

 private:
  struct Destroy {
    void operator()(cudaEvent_t event) const { static_cast<void>(cudaEventDestroy(event)); }
  };
  std::unique_ptr<CUevent_st, Destroy> event_;
};

// Allocates device memory, zeroed on `stream`. ERRORS: ResourceExhausted, with the free memory in the message.
absl::StatusOr<Buffer> allocate_device(std::size_t bytes, cudaStream_t stream);

// Allocates page-locked host memory, which the GPU copies from and to by itself. ERRORS: ResourceExhausted.
absl::StatusOr<Buffer> allocate_pinned(std::size_t bytes);

// Memory of the calling thread's GPU.
struct MemoryFacts {
  std::size_t total_bytes = 0;
  std::size_t free_bytes = 0;
};
MemoryFacts memory_facts();

// A GPU that this backend can use. A value.
struct GpuFacts {
  int device = 0;
  std::string name;
  int capability = 0;  // 10 * major + minor
  int processors = 0;  // streaming multiprocessors
  std::size_t memory_bytes = 0;
  std::size_t shared_bytes_max = 0;  // a block's, with opting in
  int runtime_version = 0;           // CUDA's numbering: 13000 = 13.0
  int driver_version = 0;
};

// Makes `device` the calling thread's GPU. ERRORS: FailedPrecondition, in one line: no driver, an old driver, no GPU, a
// GPU older than compute capability 8.0; InvalidArgument for an index that is not there.
absl::StatusOr<GpuFacts> open_gpu(int device);

// Returns whether all kernels can run on this GPU. ERRORS: FailedPrecondition (one needs more shared memory than a
// block can have there), Internal.
absl::Status prepared_status(const LoadedKernels& loaded, const std::string& what, const GpuFacts& gpu);

}  // namespace coppice::kernels::cuda
