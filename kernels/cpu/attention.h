// Attention on the CPU: executes the items of an AttentionPlan. A task is one item and one key head; the threads of the
// OpenMP team take tasks in the order of TaskOrder.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/attention_plan.h"
#include "kernels/host/isa.h"
#include "kernels/operations.h"

namespace coppice::kernels::cpu {

// The order in which the tasks of a call (item × key head) are handed out.
//
// Items that others run after (prefixes of many rows) compute much for each key they read; the others (what a sequence
// has for itself) wait for memory. One kind after the other would leave first the memory, then the arithmetic idle. So
// tasks are handed out in rounds of a few key heads: round r holds the first kind for its own heads, mixed evenly with
// the second kind for the heads of round r - 1; one more round ends with the second kind. With one round the order is
// the plan's. Either way a task stands behind those it runs after. A value.
struct TaskOrder {
  std::int64_t items = 0;
  std::int64_t parents = 0;  // the plan's items [0, parents) are the first kind
  std::int64_t key_heads = 1;
  std::int64_t round_heads = 1;  // key heads of a round, a divisor of key_heads
  std::int64_t rounds = 1;

  // Number (item * key_heads + head) of the task at a place. REQUIRES: 0 <= place < items * key_heads.
  std::int64_t at(std::int64_t place) const;

 private:
  std::int64_t task(std::int64_t round, std::int64_t item_begin, std::int64_t number) const;
};

// The order for a plan. A round begins with enough tasks that wait for no other; where key heads are too few for that,
// there is one round.
TaskOrder order_tasks(const AttentionPlan& plan, std::int32_t key_heads, int threads);

// Executes plans. Owns the memory of partial results and each thread's scratch. Owner: the CPU backend. Thread: its
// caller; one call at a time.
class CpuAttention {
 public:
  explicit CpuAttention(const CpuContext& context);
  ~CpuAttention();
  CpuAttention(const CpuAttention&) = delete;
  CpuAttention& operator=(const CpuAttention&) = delete;

  // Allocates the workspace for `plan`. Optional: run() does it if needed.
  void prepare(const AttentionPlan& plan, const AttentionParameters& parameters);

  // query: f32 or bf16 [tokens, query_heads * head_dim], for every format of the cache; out: f32 or bf16, the same
  // shape. REQUIRES: `cache` was made by make_cpu_kv_cache; plan.page_size is the cache's. ENSURES: a row of `out`
  // depends on its query, its keys and its position alone, to the bit.
  void run(const AttentionPlan& plan, const AttentionParameters& parameters, const Matrix& query, const KvCache& cache,
           std::int32_t layer, const Matrix& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace coppice::kernels::cpu
