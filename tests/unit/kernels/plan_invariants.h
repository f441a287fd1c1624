// What every AttentionPlan must be, checked by acting it out: which keys end up in which row's result, in which order.
#pragma once

#include <string>

#include "kernels/attention_plan.h"
#include "tests/unit/kernels/attention_support.h"

namespace coppice::kernels {

// Empty if the plan is right for the step: every key that a row may see is taken exactly once, through the right slot,
// in whole splits merged in ascending order; states are handed on only along `after`; the numbers for metrics are true.
// Else the first fault found.
std::string find_fault(const TestStep& step, const PlanOptions& options, const AttentionPlan& plan);

// Keys that must be read when neighbours share every split that lies wholly in their common pages, by counting.
std::int64_t keys_read_when_shared(const TestStep& step);

}  // namespace coppice::kernels
