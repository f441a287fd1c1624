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

 private:
  void add_row(const Sequence& sequence, std::int32_t shared_pages, StepPlan& plan);
  void add_draft(const Sequence& sequence, StepRow& row, StepPlan& plan);
  void add_sampling(const Sequence& sequence, const StepRow& row, StepPlan& plan);

  const SequenceTable& sequences_;
  Sampler& sampler_;
  const std::int32_t page_size_;
  std::vector<std::int32_t> depths_;  // of the row's draft nodes; a root's child has 1
  std::vector<TokenId> path_;
};

}  // namespace coppice::engine
