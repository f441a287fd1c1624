// StatsBook: where the engine counts, and the copy of the counts that other threads read.
#pragma once

#include <cstdint>

#include "base/snapshot.h"
#include "engine/scheduler.h"
#include "engine/stats.h"
#include "engine/step_executor.h"

namespace coppice::engine {

// Owner: EngineCore. Thread: the engine's, except read().
class StatsBook {
 public:
  EngineStats& counts() { return counts_; }

  void count_step(const StepResult& result) {
    counts_.kv_tokens_attended += static_cast<std::uint64_t>(result.keys_attended);
    counts_.kv_tokens_read += static_cast<std::uint64_t>(result.keys_read);
    counts_.shared_groups = result.shared_items;
    counts_.tree_depth = result.depth;
    counts_.plan_ns += result.plan_ns;
    counts_.forward_ns += result.forward_ns;
    counts_.sample_ns += result.sample_ns;
    counts_.device_ns += result.device_ns;
  }

  // After each call of EngineCore::step(), which took step_ns.
  void publish(const Scheduler& scheduler, std::uint64_t step_ns) {
    step_ns_ += step_ns;
    counts_.other_ns = step_ns_ - counts_.plan_ns - counts_.speculation_ns - counts_.forward_ns - counts_.sample_ns;
    counts_.preemptions = scheduler.preemptions();
    counts_.prompt_tokens = scheduler.admissions().prompt_tokens;
    counts_.prefix_queries = scheduler.admissions().prefix_queries;
    counts_.prefix_hits = scheduler.admissions().prefix_hits;
    counts_.running = scheduler.running();
    counts_.waiting = scheduler.waiting();
    counts_.pages_total = scheduler.pool().pages();
    counts_.pages_free = scheduler.pool().free_pages();
    counts_.pages_cached = scheduler.tree().evictable_pages();
    counts_.pages_pinned = scheduler.pinned_pages();
    published_.publish(counts_);
  }
  // Any thread. As of the last publish().
  EngineStats read() const { return published_.read(); }

 private:
  EngineStats counts_;
  std::uint64_t step_ns_ = 0;  // of all calls of step()
  base::Snapshot<EngineStats> published_;
};

}  // namespace coppice::engine
