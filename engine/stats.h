// EngineStats: what the engine counts, as plain values for the metrics page and the benchmarks, and StatsBook: where it
// counts, and the copy that other threads read.
#pragma once

#include <array>
#include <cstdint>

#include "base/snapshot.h"

namespace coppice::engine {

class Scheduler;    // scheduler.h
struct StepResult;  // step_plan.h

// Of the sequences that wait.
struct QueueCounts {
  std::int32_t deferred = 0;       // wait for another one to compute their prefix
  bool is_short_of_pages = false;  // the next one waits for KV pages
  std::uint64_t wait_ms = 0;       // until a new account's request would be served; 0: at once, or not known
};

// KV pages, at the end of the last step.
struct PageCounts {
  std::int32_t total = 0;
  std::int32_t free = 0;    // neither owned by a sequence nor cached
  std::int32_t cached = 0;  // held by the radix tree alone
  std::int32_t pinned = 0;  // held for pinned prompts; a page counts for each of them
  std::int32_t kept = 0;    // of kept prefixes, in use or not
};

// Of the last step.
struct LastStep {
  std::int32_t rows = 0;
  std::int32_t tree_depth = 0;
  std::int32_t shared_groups = 0;  // items of the attention plan shared by two or more sequences
  std::int32_t draft_nodes = 0;
  double body_ns = 0;      // the pass without attention, where the device reports the two apart
  double expected_ns = 0;  // what the learned step costs had said of that; 0: nothing
};

// What constraints on outputs did (constraint.h).
struct ConstraintCounts {
  std::uint64_t masks = 0;            // draws that not every token might come of
  std::uint64_t forced_drafted = 0;   // draft nodes that were the only way on
  std::uint64_t forced_accepted = 0;  // of them
  std::uint64_t failed = 0;           // sequences ended because their constraint had an error
};

// Draft positions that are told apart: a draft accepted further counts at the last one, too. As --draft-max is by
// default.
inline constexpr std::size_t kDraftPositions = 32;

// Of drafts that were verified, one a sequence and step.
struct DraftCounts {
  std::uint64_t drafts = 0;
  std::uint64_t tokens = 0;
  std::uint64_t accepted = 0;                                // of the tokens
  std::array<std::uint64_t, kDraftPositions> accepted_at{};  // drafts whose token at this depth was accepted
};

// Tokens of a step up to which it counts in each bucket; the last one has no end. Those of vLLM's
// iteration_tokens_total.
inline constexpr std::array<std::int32_t, 13> kStepTokenBounds = {1,   8,    16,   32,   64,   128,  256,
                                                                  512, 1024, 2048, 4096, 8192, 16384};

// Tokens computed by each step.
struct StepTokens {
  std::array<std::uint64_t, kStepTokenBounds.size() + 1> steps{};  // by bucket, each step in one
  std::uint64_t tokens = 0;

  void count(std::int32_t step_tokens);
};

// Nanoseconds, summed over steps. The first six make up all of EngineCore::step().
struct StepTimes {
  std::uint64_t plan_ns = 0;
  std::uint64_t speculation_ns = 0;  // teaching the speculator, proposing and choosing drafts
  std::uint64_t mask_ns = 0;         // of constrained draws; beside the forward pass on a device that works by itself
  std::uint64_t forward_ns = 0;
  std::uint64_t sample_ns = 0;
  std::uint64_t other_ns = 0;
  // Beside all these: from a step's submission to its results, in which a device that works by itself works.
  std::uint64_t in_flight_ns = 0;
  std::uint64_t device_ns = 0;  // by the clock of such a device; 0 on a CPU
};

// Monotonic counters and current gauges. A value; the engine's thread owns the original, others read snapshots.
struct EngineStats {
  // gauges
  std::int32_t running = 0;
  std::int32_t waiting = 0;
  QueueCounts queue;
  PageCounts pages;
  LastStep last_step;
  // counters
  std::uint64_t steps = 0;
  std::uint64_t prompt_tokens = 0;  // of admitted requests
  std::uint64_t prompt_tokens_computed = 0;
  std::uint64_t generation_tokens = 0;
  std::uint64_t prefix_queries = 0;  // prompt tokens looked up
  std::uint64_t prefix_hits = 0;     // prompt tokens found
  std::uint64_t preemptions = 0;
  std::uint64_t broken_logits = 0;          // sequences ended because a logit was no number
  std::uint64_t kv_tokens_attended = 0;     // keys × rows, per KV head and layer
  std::uint64_t kv_tokens_read = 0;         // keys × items
  std::array<std::uint64_t, 6> finished{};  // by FinishReason
  ConstraintCounts constraints;
  DraftCounts drafts;
  StepTokens step_tokens;
  StepTimes times;
};

// Owner: EngineCore. Thread: the engine's, except read().
class StatsBook {
 public:
  EngineStats& counts() { return counts_; }
  void count_step(const StepResult& result);
  // After each call of EngineCore::step(), which took step_ns.
  void publish(const Scheduler& scheduler, std::uint64_t step_ns);
  // Any thread. As of the last publish().
  EngineStats read() const { return published_.read(); }

 private:
  EngineStats counts_;
  std::uint64_t step_ns_ = 0;  // of all calls of step()
  base::Snapshot<EngineStats> published_;
};

}  // namespace coppice::engine
