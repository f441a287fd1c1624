// The sampling kernel's memory, its launch, and fetching its answers.
#include "kernels/cuda/sampling/sampler.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "kernels/cuda/device_memory.h"

namespace coppice::kernels::cuda {

namespace {

constexpr std::size_t kEditsUsual = 256;  // edits per row that memory is reserved for; chosen, not measured

// Parts that follow one another are aligned.
static_assert(sizeof(SampleRow) % alignof(SampleEdit) == 0 && sizeof(SampleEdit) % alignof(std::uint32_t) == 0 &&
              sizeof(std::uint32_t) % alignof(TokenId) == 0);

template <typename T>
std::size_t bytes_of(const std::vector<T>& values) {
  return values.size() * sizeof(T);
}

constexpr std::size_t answer_bytes(std::size_t rows, std::size_t tops) {
  return rows * (sizeof(SampleAnswer) + tops * sizeof(SampleTop));
}

static_assert(sizeof(SampleAnswer) % alignof(SampleTop) == 0 && sizeof(SampleTop) % alignof(float) == 0);

}  // namespace

absl::Status CudaSampler::reserve(const StepLimits& limits, cudaStream_t stream) {
  const auto rows = static_cast<std::size_t>(limits.logits);
  const std::size_t mask = (static_cast<std::size_t>(limits.vocab) + 31) / 32 * sizeof(std::uint32_t);
  const std::size_t request = sizeof(SampleRow) + kEditsUsual * sizeof(SampleEdit) + mask;
  COPPICE_RETURN_IF_ERROR(make_room(requests_, rows * request, stream));
  COPPICE_RETURN_IF_ERROR(make_room(saved_, rows * kEditsUsual * sizeof(float), stream));
  COPPICE_RETURN_IF_ERROR(make_room(answers_, answer_bytes(rows, kSampleTopMax), stream));
  if (fetched_.bytes() < answers_.bytes()) {
    COPPICE_ASSIGN_OR_RETURN(fetched_, allocate_pinned(answers_.bytes()));
  }
  return absl::OkStatus();
}

void CudaSampler::upload(Staging& staging, SampleCall& call) const {
  auto* device = static_cast<std::byte*>(requests_.data());
  const std::size_t edits = bytes_of(packed_.rows);
  const std::size_t allowed = edits + bytes_of(packed_.edits);
  const std::size_t labels = allowed + bytes_of(packed_.allowed);
  const std::span<std::byte> staged = staging.claim(labels + bytes_of(packed_.labels));
  const auto copy = [&staged](const auto& values, std::size_t begin) {
    if (!values.empty()) {
      std::memcpy(staged.data() + begin, values.data(), bytes_of(values));
    }
  };
  copy(packed_.rows, 0);
  copy(packed_.edits, edits);
  copy(packed_.allowed, allowed);
  copy(packed_.labels, labels);
  staging.send(device);
  call.rows = reinterpret_cast<const SampleRow*>(device);
  call.edits = reinterpret_cast<const SampleEdit*>(device + edits);
  call.allowed = reinterpret_cast<const std::uint32_t*>(device + allowed);
  call.labels = reinterpret_cast<const TokenId*>(device + labels);
}

bool CudaSampler::enqueue(const Matrix& logits, std::span<const SamplingRow> requests, Staging& staging,
                          LaunchStream on) {
  auto* const stream = static_cast<cudaStream_t>(on.stream);
  packed_.pack(requests, logits.columns);
  const std::size_t rows = requests.size();
  const auto tops = static_cast<std::size_t>(packed_.top_capacity);
  const std::size_t bytes =
      bytes_of(packed_.rows) + bytes_of(packed_.edits) + bytes_of(packed_.allowed) + bytes_of(packed_.labels);
  const std::size_t labels_begin = answer_bytes(rows, tops);
  const std::size_t answered = labels_begin + packed_.labels.size() * sizeof(float);
  bool grown = reserve_device(requests_, bytes, stream);
  grown |= reserve_device(saved_, packed_.edits.size() * sizeof(float), stream);
  grown |= reserve_device(answers_, answered, stream);
  if (fetched_.bytes() < answers_.bytes()) {
    absl::StatusOr<Buffer> larger = allocate_pinned(answers_.bytes());
    COPPICE_CHECK(larger.ok(), "sample: no page-locked memory left for the step's answers");
    fetched_ = *std::move(larger);
  }
  auto* answers = static_cast<SampleAnswer*>(answers_.data());
  SampleCall call{.logits = logits,
                  .saved = static_cast<float*>(saved_.data()),
                  .answers = answers,
                  .tops = reinterpret_cast<SampleTop*>(answers + rows),
                  .top_capacity = packed_.top_capacity,
                  .label_logits = reinterpret_cast<float*>(static_cast<std::byte*>(answers_.data()) + labels_begin)};
  upload(staging, call);
  COPPICE_CUDA_CHECK(static_cast<cudaError_t>(launch_sample(call, on)));
  COPPICE_CUDA_CHECK(cudaMemcpyAsync(fetched_.data(), answers, answered, cudaMemcpyDeviceToHost, stream));
  return grown;
}

void CudaSampler::finish(std::span<const SamplingRow> requests, std::span<SamplingResult> results) const {
  COPPICE_CHECK(requests.size() == packed_.rows.size(), "sample: these rows were not enqueued");
  const std::size_t rows = requests.size();
  const auto capacity = static_cast<std::size_t>(packed_.top_capacity);
  const auto* fetched = static_cast<const SampleAnswer*>(fetched_.data());
  auto* const bytes = static_cast<std::byte*>(fetched_.data());
  auto* tops = reinterpret_cast<SampleTop*>(bytes + rows * sizeof(SampleAnswer));
  const auto* labels = reinterpret_cast<const float*>(bytes + answer_bytes(rows, capacity));
  for (std::size_t i = 0; i < rows; ++i) {
    const auto count = static_cast<std::size_t>(fetched[i].top_count);
    const std::size_t label_count = requests[i].labels.size();
    results[i] = unpack_sample(requests[i], fetched[i], {{tops + i * capacity, count}, {labels, label_count}});
    labels += label_count;
  }
}

}  // namespace coppice::kernels::cuda
