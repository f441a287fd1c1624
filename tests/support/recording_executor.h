// RecordingExecutor: keeps a copy of every plan that another executor runs, with its results, so that the steps can be
// run again elsewhere.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/step_plan.h"

namespace coppice::testing {

struct RecordedStep {
  engine::StepPlan plan;
  std::vector<kernels::SamplingResult> results;
  std::vector<float> hidden;
};

// Owner: an engine. Thread: the engine's. `steps` outlives it.
class RecordingExecutor final : public engine::StepExecutor {
 public:
  RecordingExecutor(std::unique_ptr<engine::StepExecutor> executor, std::vector<RecordedStep>& steps)
      : executor_(std::move(executor)), steps_(steps) {}

  bool is_asynchronous() const override { return executor_->is_asynchronous(); }
  bool is_working() const override { return executor_->is_working(); }
  void prepare(const engine::StepPlan& plan) override { executor_->prepare(plan); }
  absl::Status submit(const engine::StepPlan& plan) override { return executor_->submit(plan); }
  void draw(const engine::StepPlan& plan) override {
    steps_.push_back({plan, {}, {}});
    executor_->draw(plan);
  }
  absl::StatusOr<engine::StepResult> collect() override {
    absl::StatusOr<engine::StepResult> result = executor_->collect();
    COPPICE_CHECK(result.ok(), "a recorded step is not lost");
    steps_.back().results.assign(result->results.begin(), result->results.end());
    steps_.back().hidden.assign(result->hidden.begin(), result->hidden.end());
    return result;
  }

 private:
  const std::unique_ptr<engine::StepExecutor> executor_;
  std::vector<RecordedStep>& steps_;
};

// Runs the steps anew. Returns how many bring the same results as before, to the bit.
inline std::size_t run_again(const std::vector<RecordedStep>& steps, engine::StepExecutor& executor) {
  const auto same = [](const kernels::SamplingResult& a, const kernels::SamplingResult& b) {
    return a.token == b.token && a.logprob == b.logprob && a.labels == b.labels &&
           std::equal(a.top.begin(), a.top.end(), b.top.begin(), b.top.end(),
                      [](const kernels::TokenLogprob& x, const kernels::TokenLogprob& y) {
                        return x.token == y.token && x.logprob == y.logprob;
                      });
  };
  std::size_t equal = 0;
  for (const RecordedStep& step : steps) {
    const absl::Status status = executor.submit(step.plan);
    COPPICE_CHECK(status.ok(), "a step can be run again");
    executor.draw(step.plan);
    const absl::StatusOr<engine::StepResult> result = executor.collect();
    COPPICE_CHECK(result.ok(), "a step can be run again");
    const bool has_same_results =
        std::equal(step.results.begin(), step.results.end(), result->results.begin(), result->results.end(), same) &&
        std::equal(step.hidden.begin(), step.hidden.end(), result->hidden.begin(), result->hidden.end());
    equal += has_same_results ? 1 : 0;
  }
  return equal;
}

}  // namespace coppice::testing
