// Copies from host to device through page-locked memory: the caller may reuse its memory at once, and the GPU copies
// one piece while the next is read. Small pieces (a step's arrays) are appended to a ring; large ones (weights) pass
// through it in parts that several threads read in parallel.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/runtime.h"

namespace coppice::kernels::cuda {

// Owner: the backend. Thread: its caller. The stream outlives it.
class Staging {
 public:
  // threads: readers of large pieces. ERRORS: ResourceExhausted.
  static absl::StatusOr<Staging> create(cudaStream_t stream, int threads);

  // Enqueues a copy of `bytes`; `host` may be reused when this returns. Blocks only if the ring is full.
  void upload(const void* host, void* device, std::size_t bytes);

  // claim() returns page-locked memory for the caller to fill; send() enqueues its copy. This saves a copy on the host.
  // (If `bytes` exceeds a part of the ring, the memory is ordinary and copied part by part.) REQUIRES: no other call
  // between the two.
  std::span<std::byte> claim(std::size_t bytes);
  void send(void* device);

 private:
  // A part of the ring, reused when its event has passed.
  struct Segment {
    CudaEvent done;
    std::size_t used = 0;
  };

  void copy_through(const void* host, void* device, std::size_t bytes);
  void next_segment();
  // Returns room for `bytes`, at most a segment.
  std::byte* place_for(std::size_t bytes);
  void copy_placed(const std::byte* staged, std::size_t bytes, void* device);
  std::byte* segment_data(std::size_t index) const;

  cudaStream_t stream_ = nullptr;
  int threads_ = 1;
  Buffer memory_;
  std::vector<Segment> segments_;
  std::size_t current_ = 0;
  std::span<std::byte> claimed_;
  std::vector<std::byte> large_;  // claimed memory, where the ring is too small
};

}  // namespace coppice::kernels::cuda
