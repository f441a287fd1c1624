// The sampling kernel's memory, its launch, and fetching its answers.
#include "kernels/cuda/sampler.h"

#include <utility>

#include "base/status_macros.h"
#include "kernels/cuda/device_memory.h"

namespace coppice::kernels::cuda {

namespace {

// Large enough from the start for most steps, so that a step allocates nothing; larger ones double it.
constexpr std::size_t kFirstBytes = std::size_t{256} << 10;

template <typename T>
const T* upload(const std::vector<T>& values, Buffer& buffer, Staging& staging, cudaStream_t stream) {
  reserve_device(buffer, values.size() * sizeof(T), stream);
  if (!values.empty()) {
    staging.upload(values.data(), buffer.data(), values.size() * sizeof(T));
  }
  return static_cast<const T*>(buffer.data());
}

}  // namespace

absl::StatusOr<CudaSampler> CudaSampler::create(cudaStream_t stream) {
  CudaSampler sampler;
  sampler.stream_ = stream;
  for (Buffer* buffer : {&sampler.rows_, &sampler.edits_, &sampler.saved_, &sampler.allowed_, &sampler.answers_}) {
    COPPICE_ASSIGN_OR_RETURN(*buffer, allocate_device(kFirstBytes, stream));
  }
  COPPICE_ASSIGN_OR_RETURN(sampler.fetched_, allocate_pinned(kFirstBytes));
  return sampler;
}

void CudaSampler::reserve_answers(std::size_t rows, std::size_t tops) {
  const std::size_t bytes = rows * sizeof(SampleAnswer) + tops * sizeof(SampleTop);
  reserve_device(answers_, bytes, stream_);
  if (fetched_.bytes() < answers_.bytes()) {
    absl::StatusOr<Buffer> larger = allocate_pinned(answers_.bytes());
    COPPICE_CHECK(larger.ok(), "sample: no page-locked memory left for the step's answers");
    fetched_ = *std::move(larger);
  }
}

void CudaSampler::sample(const Matrix& logits, std::span<const SamplingRow> requests, std::span<SamplingResult> results,
                         Staging& staging) {
  if (requests.empty()) {
    COPPICE_CUDA_CHECK(cudaStreamSynchronize(stream_));
    return;
  }
  packed_.pack(requests, logits.columns);
  const std::size_t rows = requests.size();
  const auto capacity = static_cast<std::size_t>(packed_.top_capacity);
  reserve_answers(rows, rows * capacity);
  reserve_device(saved_, packed_.edits.size() * sizeof(float), stream_);
  auto* answers = static_cast<SampleAnswer*>(answers_.data());
  const SampleCall call{.logits = logits,
                        .rows = upload(packed_.rows, rows_, staging, stream_),
                        .edits = upload(packed_.edits, edits_, staging, stream_),
                        .saved = static_cast<float*>(saved_.data()),
                        .allowed = upload(packed_.allowed, allowed_, staging, stream_),
                        .answers = answers,
                        .tops = reinterpret_cast<SampleTop*>(answers + rows),
                        .top_capacity = packed_.top_capacity};
  COPPICE_CUDA_CHECK(static_cast<cudaError_t>(launch_sample(call, stream_)));
  const std::size_t bytes = rows * sizeof(SampleAnswer) + rows * capacity * sizeof(SampleTop);
  COPPICE_CUDA_CHECK(cudaMemcpyAsync(fetched_.data(), answers, bytes, cudaMemcpyDeviceToHost, stream_));
  COPPICE_CUDA_CHECK(cudaStreamSynchronize(stream_));
  const auto* fetched = static_cast<const SampleAnswer*>(fetched_.data());
  auto* tops = reinterpret_cast<SampleTop*>(static_cast<std::byte*>(fetched_.data()) + rows * sizeof(SampleAnswer));
  for (std::size_t i = 0; i < rows; ++i) {
    const auto count = static_cast<std::size_t>(fetched[i].top_count);
    results[i] = unpack_sample(requests[i], fetched[i], std::span<SampleTop>(tops + i * capacity, count));
  }
}

}  // namespace coppice::kernels::cuda
