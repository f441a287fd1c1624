// Recordings of steps (CUDA graphs): the launches of a step are captured once and replayed as one launch. What changes
// from step to step is data that kernels find at fixed addresses (block.h).
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

// Owner: the backend. Thread: its caller. REQUIRES: nothing else uses the stream during run().
class StepGraphs {
 public:
  struct Key {
    StepProgram program = StepProgram::kNone;
    StepShape shape;

    bool operator==(const Key&) const = default;
  };

  // capacity: recordings that are kept; the least recently used is dropped; 0: nothing is recorded. errors: of the
  // launches. REQUIRES: `errors` outlives this object.
  StepGraphs(std::size_t capacity, LaunchErrors& errors) : capacity_(capacity), errors_(errors) {}

  // Returns whether steps are recorded, and so must be padded.
  bool active() const { return capacity_ > 0; }

  // Runs the step of a key. The first call for a key calls `enqueue` directly, so that one-time work is done; the
  // second calls it while the stream is captured; later ones replay the recording. If a recording fails, the step still
  // runs and recording ends for good (counts().trouble says why).
  void run(const Key& key, cudaStream_t stream, absl::FunctionRef<void()> enqueue);

  void run_directly(absl::FunctionRef<void()> enqueue);

  // Drops all recordings, because memory that they use has moved. A recording that is being replayed is freed when it
  // is done.
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

  // Returns null, with nothing enqueued, if the step cannot be recorded.
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
