// Settlement: what a step does to its sequences, in three parts. assume() when it starts: everything that is certain
// whatever is drawn. settle() when its results are there: the drawn tokens, which the next step needs. book() when time
// allows: everything else.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/drafter.h"
#include "engine/limits.h"
#include "engine/request_desk.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/stats_book.h"
#include "engine/step_pipeline.h"

namespace coppice::engine {

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
  void book_row(const StepRow& row, const RowOutcome& outcome, std::span<const std::int32_t> path, Results results);
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
