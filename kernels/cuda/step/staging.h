// Copies from host to device through page-locked memory, so that the caller's memory is free again at once and the GPU
// copies while the next piece is read. Small pieces (a step's arrays) are appended to a ring; large ones (weights) go
// through it in parts that several threads read side by side, which is what makes loading from the page cache fast.
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

  // Enqueues a copy of `bytes`; `host` may be reused when this returns. Blocks only when more than the ring holds waits
  // to be copied.
  void upload(const void* host, void* device, std::size_t bytes);

  // Page-locked memory for the caller to fill, whose copy send() then enqueues: an upload that need not be put together
  // elsewhere first. (More than a part of the ring holds is ordinary memory, copied part by part.) Any other call
  // between the two takes the memory back.
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
  // A place of `bytes`, at most a segment's.
  std::byte* place_for(std::size_t bytes);
  void copy_placed(const std::byte* staged, std::size_t bytes, void* device);
  std::byte* segment_data(std::size_t index) const;

  cudaStream_t stream_ = nullptr;
  int threads_ = 1;
  Buffer memory_;
  std::vector<Segment> segments_;
  std::size_t current_ = 0;
  std::span<std::byte> claimed_;
  std::vector<std::byte> large_;  // what was claimed, where the ring is too small
};

}  // namespace coppice::kernels::cuda
