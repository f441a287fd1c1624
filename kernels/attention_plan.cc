// The planner's front: move the last plan on if that is possible, else make a new one.
#include "kernels/attention_plan.h"

#include "kernels/plan_builder.h"

namespace coppice::kernels {

AttentionPlanner::AttentionPlanner() : builder_(std::make_unique<PlanBuilder>()) {}
AttentionPlanner::~AttentionPlanner() = default;
AttentionPlanner::AttentionPlanner(AttentionPlanner&&) noexcept = default;
AttentionPlanner& AttentionPlanner::operator=(AttentionPlanner&&) noexcept = default;

const AttentionPlan& AttentionPlanner::plan(std::span<const PlanSequence> sequences, const PlanOptions& options) {
  if (!builder_->update(sequences, options)) {
    builder_->build(sequences, options);
  }
  return builder_->plan();
}

}  // namespace coppice::kernels
