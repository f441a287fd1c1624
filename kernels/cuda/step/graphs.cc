// Recording and playing steps.
#include "kernels/cuda/step/graphs.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/runtime.h"

namespace coppice::kernels::cuda {

void StepGraphs::run(const Key& key, cudaStream_t stream, absl::FunctionRef<void()> enqueue) {
  ++clock_;
  const auto found = std::ranges::find(entries_, key, &Entry::key);
  if (found == entries_.end()) {
    if (active()) {
      add(key);
    }
  } else {
    found->last_used = clock_;
    if (found->graph == nullptr) {
      found->graph = record(stream, enqueue);
    }
    if (found->graph != nullptr) {
      COPPICE_CUDA_CHECK(cudaGraphLaunch(found->graph.get(), stream));
      ++counts_.played;
      return;
    }
    drop();
  }
  run_directly(enqueue);
}

void StepGraphs::run_directly(absl::FunctionRef<void()> enqueue) {
  enqueue();
  ++counts_.direct;
}

StepGraphs::Graph StepGraphs::record(cudaStream_t stream, absl::FunctionRef<void()> enqueue) {
  if (const cudaError_t refused = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
      refused != cudaSuccess) {
    give_up(refused);
    return nullptr;
  }
  errors_.begin_recording();
  enqueue();
  const cudaError_t failed = errors_.end_recording();
  cudaGraph_t captured = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream, &captured);
  cudaGraphExec_t graph = nullptr;
  cudaError_t error = failed != cudaSuccess ? failed : ended;
  if (error == cudaSuccess) {
    error = cudaGraphInstantiate(&graph, captured, 0);
  }
  if (captured != nullptr) {
    static_cast<void>(cudaGraphDestroy(captured));
  }
  if (error != cudaSuccess) {
    give_up(error);
    return nullptr;
  }
  ++counts_.recorded;
  return Graph(graph);
}

void StepGraphs::give_up(cudaError_t error) {
  static_cast<void>(cudaGetLastError());  // a recording that failed is no error of the launches that follow
  capacity_ = 0;
  counts_.trouble = std::string(to_status(error, "steps are not recorded").message());
}

void StepGraphs::add(const Key& key) {
  if (entries_.size() == capacity_) {
    const auto oldest = std::ranges::min_element(entries_, {}, &Entry::last_used);
    counts_.dropped += oldest->graph != nullptr ? 1U : 0U;
    entries_.erase(oldest);
  }
  entries_.push_back({.key = key, .graph = nullptr, .last_used = clock_});
}

void StepGraphs::drop() {
  counts_.dropped += static_cast<std::uint64_t>(
      std::ranges::count_if(entries_, [](const Entry& entry) { return entry.graph != nullptr; }));
  entries_.clear();
}

}  // namespace coppice::kernels::cuda
