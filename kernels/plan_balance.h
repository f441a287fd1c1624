// The planner's second part: what units cost, how they are cut until every worker has something to do, and the order
// in which they start. Pure functions of the options and the units.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/plan_tree.h"

namespace coppice::kernels {

// Units that should exist per key head, so that every worker has several to choose from. At most 1: the key heads alone
// keep the workers busy, and nothing is cut.
std::int32_t units_per_head(const PlanOptions& options);

// Most token rows of a unit of linear rows.
std::int32_t row_block(const PlanOptions& options);

// Cost of a unit for one key head, in matrix rows times keys; 0 without keys. Keys count by whole splits, so the cost
// changes only when a sequence enters a new one.
std::int64_t unit_cost(const PlanOptions& options, std::int32_t key_begin, std::int32_t key_end, std::int32_t rows);
std::int64_t unit_cost(const PlanOptions& options, const PlanUnit& unit);
std::int64_t total_cost(const PlanOptions& options, std::span<const PlanUnit> units);

// The cost above which a unit is cut when all together cost `total`. A power of two, so that it seldom changes while
// sequences grow.
std::int64_t cost_limit(const PlanOptions& options, std::int64_t total);

// Cuts nodes by rows that cost more than `limit` and have rows enough for several workers: clears input.shared_splits
// between neighbours. Returns true if any was cut; the units must then be made again.
bool cut_wide_nodes(std::span<const PlanUnit> units, std::int64_t limit, PlanInput& input);

// Cuts units by keys that cost more than `limit`: sets the `pieces` of all units. Returns true if any was cut.
bool cut_long_units(const PlanOptions& options, std::int64_t limit, std::span<PlanUnit> units);

// Orders units: parents first (a child begins at a later split), large before small. Keeps its arrays between steps.
class UnitOrder {
 public:
  // Indexes into `units`; valid until the next call.
  std::span<const std::int32_t> sort(const PlanOptions& options, std::span<const PlanUnit> units);

 private:
  std::vector<std::int32_t> order_;
  std::vector<std::uint32_t> keys_;
  std::vector<std::int32_t> scratch_;
};

}  // namespace coppice::kernels
