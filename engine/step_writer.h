// StepWriter: writes what the scheduler chose as a StepPlan: rows in depth-first order of shared pages, token rows
// with their KV slots, logits rows with how to sample them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/step_plan.h"

namespace coppice::engine {

// Owner: the engine. Thread: the engine's. Keeps its scratch between steps.
class StepWriter {
 public:
  StepWriter(const SequenceTable& sequences, const Sampler& sampler, std::int32_t page_size)
      : sequences_(sequences), sampler_(sampler), page_size_(page_size) {}

  // Fills plan.rows and what belongs to them. REQUIRES: the plan has no rows.
  void write(std::span<const SharingOrder::Entry> order, StepPlan& plan);
  // Fills in the tokens that were still being drawn when the plan was written. REQUIRES: it was the last plan written,
  // and sequences that awaited a token now have it.
  void fill_in(StepPlan& plan);

 private:
  void add_row(const Sequence& sequence, std::int32_t shared_pages, StepPlan& plan);
  static void add_draft(const Sequence& sequence, StepPlan& plan);
  void add_draws(const Sequence& sequence, const StepRow& row, StepPlan& plan);
  void add_draft_draws(const Sequence& sequence, const StepDraw& root, StepPlan& plan);

  // A row whose last token is still being drawn.
  struct LateRow {
    SequenceSlot slot = kNoSequence;
    std::int32_t token_row = 0;
    std::int32_t draw = 0;
  };

  const SequenceTable& sequences_;
  const Sampler& sampler_;
  const std::int32_t page_size_;
  std::uint64_t written_ = 0;
  std::vector<LateRow> late_;  // of the last plan
  std::vector<TokenId> path_;  // drafted tokens down to a node
};

}  // namespace coppice::engine
