// Attention on the CPU: executes the items of an AttentionPlan. A task is one item and one key head; tasks are handed
// out to the threads of the OpenMP team in the plan's order, or, where items run after others, in rounds of key heads
// that mix shared items with single ones (attention.cc).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/attention_plan.h"
#include "kernels/cpu/isa.h"
#include "kernels/operations.h"

namespace coppice::kernels::cpu {

// Runs plans and owns the memory for partial results and per-thread scratch. Owner: the CPU backend. Thread: its
// caller; one call at a time.
class CpuAttention {
 public:
  explicit CpuAttention(const CpuContext& context);
  ~CpuAttention();
  CpuAttention(const CpuAttention&) = delete;
  CpuAttention& operator=(const CpuAttention&) = delete;

  // Sizes the workspace for `plan`. Optional before run(), which does it when needed.
  void prepare(const AttentionPlan& plan, const AttentionParameters& parameters);

  // query: f32 or bf16 [tokens, query_heads * head_dim], whatever the cache's format; out: f32 or bf16, the same shape.
  // A row of `out` depends on its query, its keys and its position alone, to the bit. REQUIRES: `cache` was made by
  // make_cpu_kv_cache; plan.page_size is the cache's.
  void run(const AttentionPlan& plan, const AttentionParameters& parameters, const Matrix& query, const KvCache& cache,
           std::int32_t layer, const Matrix& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace coppice::kernels::cpu
