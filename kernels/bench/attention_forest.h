// The page tables of a tree of prefixes, as the planner is given them: what `coppice bench attention` measures and
// `attention_model` reckons with.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/attention_plan.h"
#include "kernels/bench/attention_bench.h"

namespace coppice::kernels {

// The sequences of a tree in depth-first order; each decodes one row. `sequences` points into `tables`.
struct Forest {
  std::vector<std::vector<PageId>> tables;  // per sequence; one page more than its tokens need, for its next token
  std::vector<PlanSequence> sequences;
  std::int32_t pages = 0;
};

// Lays out a tree's pages: nodes share the full pages of their parents.
Forest grow_forest(const AttentionTree& tree, std::int32_t page_size);

}  // namespace coppice::kernels
