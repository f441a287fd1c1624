// Recordings of steps (CUDA graphs): the launches of a step, made once one by one while the stream is captured, are one
// launch from then on. What changes from step to step is data that the kernels find at fixed places (step_block.h).
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "kernels/cuda/launch_errors.h"
#include "kernels/cuda/step/block.h"
#include "kernels/step.h"

namespace coppice::kernels::cuda {

// Owner: the backend. Thread: its caller; the stream's other users do nothing while run() runs.
class StepGraphs {
 public:
  struct Key {
    StepProgram program = StepProgram::kNone;
    StepShape shape;

    bool operator==(const Key&) const = default;
  };

  // capacity: recordings kept, the least recently used goes; 0: nothing is recorded. errors: of the launches; outlives
  // this.
  StepGraphs(std::size_t capacity, LaunchErrors& errors) : capacity_(capacity), errors_(errors) {}

  // Whether steps are recorded at all: so are padded for it.
  bool active() const { return capacity_ > 0; }

  // The first time that a key comes `enqueue` is called, so that what is done once is done; the second time it is
  // called while the stream is captured; from then on not at all. A recording that cannot be made ends recording for
  // good (counts().trouble says why), not the step.
  void run(const Key& key, cudaStream_t stream, absl::FunctionRef<void()> enqueue);

  void run_directly(absl::FunctionRef<void()> enqueue);

  // Forgets everything recorded: memory that it names has moved. What is being played is freed when it is done.
  void drop();

  const StepCounts& counts() const { return counts_; }
  void count_growth() { ++counts_.grown; }

 private:
  struct Destroy {
    void operator()(cudaGraphExec_t graph) const { static_cast<void>(cudaGraphExecDestroy(graph)); }
  };
  using Graph = std::unique_ptr<CUgraphExec_st, Destroy>;
  // A key that came at least once.
  struct Entry {
    Key key;
    Graph graph;  // null: only once so far
    std::uint64_t last_used = 0;
  };

  // Null and nothing was enqueued, if it cannot be had.
  Graph record(cudaStream_t stream, absl::FunctionRef<void()> enqueue);
  void add(const Key& key);
  void give_up(cudaError_t error);

  std::size_t capacity_;
  LaunchErrors& errors_;
  std::vector<Entry> entries_;
  std::uint64_t clock_ = 0;
  StepCounts counts_;
};

}  // namespace coppice::kernels::cuda
