// The ring of page-locked memory between host and device.
#include "kernels/cuda/step/staging.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status_macros.h"
#include "kernels/host/parallel.h"

namespace coppice::kernels::cuda {

namespace {

// 8 MiB: copying takes far longer than starting a copy; not measured.
constexpr std::size_t kSegmentBytes = std::size_t{8} << 20;
constexpr std::size_t kSegments = 4;     // one is filled while others are copied; chosen, not measured
constexpr std::size_t kAlignment = 256;  // bytes: the alignment of CUDA's own allocations
constexpr std::int64_t kReadGrain = std::int64_t{256} << 10;  // bytes per thread, at least; chosen, not measured

}  // namespace

absl::StatusOr<Staging> Staging::create(cudaStream_t stream, int threads) {
  Staging staging;
  staging.stream_ = stream;
  staging.threads_ = std::max(1, threads);
  COPPICE_ASSIGN_OR_RETURN(staging.memory_, allocate_pinned(kSegments * kSegmentBytes));
  for (std::size_t i = 0; i < kSegments; ++i) {
    COPPICE_ASSIGN_OR_RETURN(CudaEvent event, CudaEvent::create());
    staging.segments_.push_back({.done = std::move(event), .used = 0});
  }
  return staging;
}

std::byte* Staging::segment_data(std::size_t index) const {
  return static_cast<std::byte*>(memory_.data()) + index * kSegmentBytes;
}

void Staging::next_segment() {
  COPPICE_CUDA_CHECK(cudaEventRecord(segments_[current_].done.get(), stream_));
  current_ = (current_ + 1) % kSegments;
  Segment& segment = segments_[current_];
  COPPICE_CUDA_CHECK(cudaEventSynchronize(segment.done.get()));  // an event never recorded has passed
  segment.used = 0;
}

std::byte* Staging::place_for(std::size_t bytes) {
  if (segments_[current_].used + bytes > kSegmentBytes) {
    next_segment();
  }
  return segment_data(current_) + segments_[current_].used;
}

void Staging::copy_placed(const std::byte* staged, std::size_t bytes, void* device) {
  COPPICE_CUDA_CHECK(cudaMemcpyAsync(device, staged, bytes, cudaMemcpyHostToDevice, stream_));
  Segment& segment = segments_[current_];
  segment.used = std::min(kSegmentBytes, (segment.used + bytes + kAlignment - 1) / kAlignment * kAlignment);
}

void Staging::upload(const void* host, void* device, std::size_t bytes) {
  claimed_ = {};
  copy_through(host, device, bytes);
}

void Staging::copy_through(const void* host, void* device, std::size_t bytes) {
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t part = std::min(bytes - done, kSegmentBytes);
    std::byte* staged = place_for(part);
    const auto* source = static_cast<const std::byte*>(host) + done;
    parallel_for(threads_, static_cast<std::int64_t>(part), kReadGrain,
                 [staged, source](std::int64_t begin, std::int64_t end) {
                   std::memcpy(staged + begin, source + begin, static_cast<std::size_t>(end - begin));
                 });
    copy_placed(staged, part, static_cast<std::byte*>(device) + done);
    done += part;
  }
}

std::span<std::byte> Staging::claim(std::size_t bytes) {
  if (bytes > kSegmentBytes) {
    large_.resize(bytes);
    claimed_ = large_;
  } else {
    claimed_ = {place_for(bytes), bytes};
  }
  return claimed_;
}

void Staging::send(void* device) {
  if (claimed_.size() > kSegmentBytes) {
    copy_through(claimed_.data(), device, claimed_.size());
  } else if (!claimed_.empty()) {
    copy_placed(claimed_.data(), claimed_.size(), device);
  }
  claimed_ = {};
}

}  // namespace coppice::kernels::cuda
