// AttentionCheck: plans the attention of steps as the runner does, ahead or not, and compares every row's keys with the
// page table and draft that the step names. For executors that compute no attention.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/step_plan.h"
#include "kernels/attention_plan.h"

namespace coppice::testing {

// The position of a row's token row `index`: of a draft node by its depth.
std::int32_t position_of(const engine::StepPlan& plan, const engine::StepRow& row, std::int32_t index);

// Owner: an executor. Thread: its caller.
class AttentionCheck {
 public:
  explicit AttentionCheck(std::int32_t page_size) : page_size_(page_size) {}

  void prepare(const engine::StepPlan& plan) { plan_for(plan); }
  // Every row attends to exactly its own keys, each once: COPPICE_CHECKs.
  void check(const engine::StepPlan& plan);

 private:
  const kernels::AttentionPlan& plan_for(const engine::StepPlan& plan);
  void read_items(const kernels::AttentionPlan& attention);
  std::vector<KvSlot> keys_of(const engine::StepPlan& plan, const engine::StepRow& row, std::int32_t index) const;

  const std::int32_t page_size_;
  kernels::AttentionPlanner planner_;
  std::vector<kernels::PlanSequence> sequences_;
  const kernels::AttentionPlan* attention_ = nullptr;  // the planner's last
  std::uint64_t planned_ = 0;                          // number of the step that it is for
  std::vector<std::vector<KvSlot>> keys_;              // by token row: the slot of each key, as the items have it
};

}  // namespace coppice::testing
