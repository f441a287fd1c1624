// Settlement: what a step does to its sequences, in three parts. assume() when it starts: everything that is certain
// whatever is drawn. settle() when its results are there: the drawn tokens, which the next step needs. book() when time
// allows: everything else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/drafter.h"
#include "engine/kv_pool.h"
#include "engine/limits.h"
#include "engine/request_desk.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/speculation/speculator.h"
#include "engine/stats.h"
#include "engine/step_pipeline.h"
#include "kernels/backend.h"
#include "kernels/sampling.h"

namespace coppice::engine {

// Which drafted tokens are right. At the sequence's last token and at every draft node the target model's own draw is
// known, made with that position's random numbers (base/random.h), so walking from the root and descending while the
// drawn token is a child gives exactly the tokens that stepping one by one would have given: no probability enters, and
// the answer is the same to the bit with drafts or without.

// Fills `path` with the accepted draft nodes, from the root's child down. results[0] is the draw after the last linear
// token, results[1 + i] the draw after draft node i. REQUIRES: results.size() = 1 + tree.size(); siblings differ.
void accept_draft(const DraftTree& tree, std::span<const kernels::SamplingResult> results,
                  std::vector<std::int32_t>& path);

// The accepted path, draw by draw: the result that was drawn after the first `accepted` nodes of `path`.
inline const kernels::SamplingResult& draw_along(std::span<const kernels::SamplingResult> results,
                                                 std::span<const std::int32_t> path, std::size_t accepted) {
  return accepted == 0 ? results[0] : results[1 + static_cast<std::size_t>(path[accepted - 1])];
}

// Appends the moves that bring the path's KV from the nodes' table positions (draft_begin + node) to draft_begin,
// draft_begin + 1, … None for nodes that already stand there. In order, no move overwrites a node that a later move
// still reads, because a path's j-th node has index j or more.
void append_path_moves(const PageTable& pages, std::int32_t page_size, std::int32_t draft_begin,
                       std::span<const std::int32_t> path, std::vector<kernels::SlotMove>& moves);

// Owner: EngineCore. Thread: the engine's.
class Settlement {
 public:
  Settlement(std::int32_t page_size, RequestTable& requests, SequenceTable& sequences, const SequenceHomes& homes,
             RequestDesk& desk, StatsBook& stats)
      : page_size_(page_size), requests_(requests), sequences_(sequences), homes_(homes), desk_(desk), stats_(stats) {}

  // Advances the sequences of the step that flies as if it had finished with no draft accepted. Where the step behind
  // it can be chosen already, a drawn token is kNoToken until settle().
  void assume(StepSlot& slot);
  // Gives every sequence its tokens and says which ones end. Moves of accepted drafts are owed to the next step.
  void settle(StepSlot& slot, const StepResult& result, OwedKvWork& owed);
  // Counts, learns, writes events, shows pages to the prefix cache, forks and ends sequences.
  void book(StepSlot& slot, const StepResult& result);

 private:
  using Results = std::span<const kernels::SamplingResult>;

  bool assume_row(const StepRow& row, RowOutcome& outcome);
  void settle_row(Sequence& sequence, Results draws, StepSlot& slot, RowOutcome& outcome);
  void settle_draft(Sequence& sequence, const StepRow& row, std::span<const std::int32_t> path, OwedKvWork& owed);
  FinishReason finish_reason(const Sequence& sequence, TokenId token) const;
  void book_row(const StepSlot& slot, std::size_t index, const StepResult& result);
  void pool(Sequence& sequence, std::span<const float> states, std::int32_t count);
  void report_reading(Sequence& sequence, Results results);
  void report_scores(Sequence& sequence, Results results);
  void report_tokens(Sequence& sequence, std::span<const std::int32_t> path, Results draws);

  const std::int32_t page_size_;
  RequestTable& requests_;
  SequenceTable& sequences_;
  const SequenceHomes homes_;
  RequestDesk& desk_;
  StatsBook& stats_;
  std::vector<std::int32_t> path_;  // accepted draft nodes of one sequence
};

}  // namespace coppice::engine
