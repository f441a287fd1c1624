// What the items of an attention plan cost on a device: the planner's one knowledge of devices beside the number of
// their workers.
#pragma once

#include <cstdint>

namespace coppice::kernels {

// What a device's items cost, for cutting them until all workers are busy. The numbers that stand here are a CPU's.
struct PlanCosts {
  // Cost of one key for one KV head = what it takes to read it, in matrix rows' worth of computing (measured on Zen 5:
  // a key of 128 dimensions is read from memory in the time that 13 rows are multiplied with it).
  std::int32_t read_cost = 13;
  // Smaller items, in matrix rows times keys, cost more to hand out than they gain (on a CPU about 10 microseconds).
  std::int64_t least_cost = 4096;
  // Items a worker should have to choose from, so that the last to finish is not late. Chosen, not measured.
  double items_per_worker = 4;

  bool operator==(const PlanCosts&) const = default;
};

// Of GPUs: predicted, not measured. The best of 24 settings for four GPUs together by the model of the kernel's time
// (tools/attention_model): units begin and end slowly beside what they read, so few and large items win.
inline constexpr PlanCosts kGpuPlanCosts{.read_cost = 20, .least_cost = 4096, .items_per_worker = 0.5};

}  // namespace coppice::kernels
