// PlanBuilder: writes what the scheduler chose as a StepPlan: rows in depth-first order of shared pages, token rows
// with positions and slots, logits rows with how to sample them.
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
class PlanBuilder {
 public:
  PlanBuilder(const SequenceTable& sequences, Sampler& sampler, std::int32_t page_size)
      : sequences_(sequences), sampler_(sampler), page_size_(page_size) {}

  // Fills plan.rows and what belongs to them. REQUIRES: the plan has no rows.
  void build(std::span<const SharingOrder::Entry> order, StepPlan& plan);
  // Puts tokens that were not drawn yet when the plan was built in their places. REQUIRES: it was the last one built,
  // and sequences that awaited a token now have it.
  void fill_in(StepPlan& plan);

 private:
  void add_row(const Sequence& sequence, std::int32_t shared_pages, StepPlan& plan);
  void add_draft(const Sequence& sequence, StepRow& row, StepPlan& plan);
  void add_sampling(const Sequence& sequence, const StepRow& row, StepPlan& plan);

  // A row whose last token is still being drawn.
  struct LateRow {
    SequenceSlot slot = kNoSequence;
    std::int32_t token_row = 0;
    std::int32_t sampling_row = 0;
  };

  const SequenceTable& sequences_;
  Sampler& sampler_;
  const std::int32_t page_size_;
  std::uint64_t built_ = 0;
  std::vector<LateRow> late_;         // of the last plan
  std::vector<std::int32_t> depths_;  // of the row's draft nodes; a root's child has 1
  std::vector<TokenId> path_;
};

}  // namespace coppice::engine
