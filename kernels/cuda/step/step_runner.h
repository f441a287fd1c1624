// StepRunner on a GPU: a step's inputs in one block of memory, its forward pass played from a recording, its draws.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/attention/step.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/sampling/sampler.h"
#include "kernels/cuda/step/block.h"
#include "kernels/cuda/step/graphs.h"
#include "kernels/step_runner.h"

namespace coppice::kernels::cuda {

// Owner: the CUDA backend. Thread: one caller at a time.
class CudaStepRunner final : public StepRunner {
 public:
  // recordings: number that is kept; 0: steps are not recorded. REQUIRES: `context` and `attention` (the memory of a
  // step's attention) outlive it. ERRORS: ResourceExhausted.
  static absl::StatusOr<std::unique_ptr<CudaStepRunner>> create(CudaContext& context, AttentionStep& attention,
                                                                std::size_t recordings);

  bool is_asynchronous() const override { return true; }
  bool is_working() const override;
  std::int32_t partials_most(StepProgram program) const override;
  StepCounts counts() const override { return graphs_.counts(); }

 private:
  // The beginning and the end of a step on the GPU.
  struct Events {
    CudaEvent begin;
    CudaEvent end;
  };

  // What was reserved for a StepProgram.
  struct Program {
    StepShape largest;
    std::int32_t partials = 0;  // slots
  };

  CudaStepRunner(CudaContext& context, AttentionStep& attention, StepBlock block, Events events,
                 std::size_t recordings);

  absl::Status do_reserve(StepProgram program, const StepLimits& limits) override;
  void do_prepare(StepProgram program, const StepArrays& arrays, const AttentionPlan& plan,
                  const AttentionParameters& parameters) override;
  LoadedStep do_load(std::span<const TokenId> tokens, const LoadedAttention& attention) override;
  void do_run(StepProgram program, const LoadedStep& step, absl::FunctionRef<void(const LoadedStep&)> enqueue) override;
  void do_sample(const Matrix& logits, std::span<const SamplingRow> rows) override;
  std::uint64_t do_finish(std::span<const SamplingRow> rows, std::span<SamplingResult> draws) override;

  StepShape padded_shape(StepProgram program, StepShape shape) const;

  CudaContext& context_;
  AttentionStep& attention_;
  StepBlock block_;
  const Events events_;
  StepGraphs graphs_;
  CudaSampler sampler_;
  std::vector<Program> programs_;  // of StepProgram 1, 2, ...
};

}  // namespace coppice::kernels::cuda
