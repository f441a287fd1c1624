// Counting a step, and gathering what other parts of the engine count.
#include "engine/stats.h"

#include <algorithm>

#include "engine/scheduler.h"
#include "engine/step_plan.h"

namespace coppice::engine {

void StepTokens::count(std::int32_t step_tokens) {
  const auto bucket = std::lower_bound(kStepTokenBounds.begin(), kStepTokenBounds.end(), step_tokens);
  ++steps[static_cast<std::size_t>(bucket - kStepTokenBounds.begin())];
  tokens += static_cast<std::uint64_t>(step_tokens);
}

void StatsBook::count_step(const StepResult& result) {
  counts_.kv_tokens_attended += static_cast<std::uint64_t>(result.keys_attended);
  counts_.kv_tokens_read += static_cast<std::uint64_t>(result.keys_read);
  counts_.last_step.shared_groups = result.shared_items;
  counts_.last_step.tree_depth = result.depth;
  counts_.times.plan_ns += result.plan_ns;
  counts_.times.forward_ns += result.forward_ns;
  counts_.times.sample_ns += result.sample_ns;
  counts_.times.device_ns += result.device_ns;
}

void StatsBook::publish(const Scheduler& scheduler, std::uint64_t step_ns) {
  step_ns_ += step_ns;
  StepTimes& times = counts_.times;
  times.other_ns = step_ns_ - times.plan_ns - times.speculation_ns - times.mask_ns - times.forward_ns - times.sample_ns;
  counts_.preemptions = scheduler.preemptions();
  counts_.prompt_tokens = scheduler.admissions().prompt_tokens;
  counts_.prefix_queries = scheduler.admissions().prefix_queries;
  counts_.prefix_hits = scheduler.admissions().prefix_hits;
  counts_.running = scheduler.running();
  counts_.waiting = scheduler.waiting();
  counts_.queue.deferred = scheduler.deferred();
  counts_.queue.is_short_of_pages = scheduler.is_short_of_pages();
  counts_.pages = {.total = scheduler.pool().pages(),
                   .free = scheduler.pool().free_pages(),
                   .cached = scheduler.tree().evictable_pages(),
                   .pinned = scheduler.pinned_pages(),
                   .kept = scheduler.tree().kept().pages()};
  published_.publish(counts_);
}

}  // namespace coppice::engine
