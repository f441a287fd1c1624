// Costs of units, cuts, and the order of their start.
#include "kernels/plan_balance.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "kernels/key_positions.h"

namespace coppice::kernels {
namespace {

// Matrix rows of a part when a node is cut by rows: more of them compute longer than they read (PlanCosts::read_cost).
// Chosen, not measured.
constexpr std::int32_t kWideRows = 64;
// Matrix rows of a unit of a prompt chunk: enough to use each key often, few enough to leave every worker some and to
// keep their results in a core's cache. The smaller number serves many workers. Chosen, not measured.
constexpr std::int32_t kBlockRows = 256;
constexpr std::int32_t kBlockRowsManyWorkers = 64;

// How many parts of at most `limit` a cost makes, at most `most`.
std::int32_t parts_of(std::int64_t cost, std::int64_t limit, std::int32_t most) {
  return static_cast<std::int32_t>(std::min<std::int64_t>((cost + limit - 1) / limit, most));
}

}  // namespace

std::int32_t units_per_head(const PlanOptions& options) {
  const auto wanted = static_cast<std::int32_t>(std::ceil(options.workers * options.costs.items_per_worker));
  return (wanted + options.key_heads - 1) / options.key_heads;
}

std::int32_t row_block(const PlanOptions& options) {
  const std::int32_t matrix_rows = units_per_head(options) > 1 ? kBlockRowsManyWorkers : kBlockRows;
  return std::max(1, matrix_rows / options.group_size);
}

std::int64_t unit_cost(const PlanOptions& options, std::int32_t key_begin, std::int32_t key_end, std::int32_t rows) {
  if (key_begin >= key_end) {
    return 0;
  }
  const std::int64_t keys = kv_split_end(key_end - 1) - key_begin;
  return keys * (options.costs.read_cost + static_cast<std::int64_t>(rows) * options.group_size);
}

std::int64_t unit_cost(const PlanOptions& options, const PlanUnit& unit) {
  return unit_cost(options, unit.key_begin, unit.key_end, unit.row_count);
}

std::int64_t total_cost(const PlanOptions& options, std::span<const PlanUnit> units) {
  std::int64_t total = 0;
  for (const PlanUnit& unit : units) {
    total += unit_cost(options, unit);
  }
  return total;
}

std::int64_t cost_limit(const PlanOptions& options, std::int64_t total) {
  const auto share =
      static_cast<std::uint64_t>(std::max<std::int64_t>(total / units_per_head(options), options.costs.least_cost));
  return static_cast<std::int64_t>(std::bit_floor(share));
}

bool cut_wide_nodes(std::span<const PlanUnit> units, std::int64_t limit, PlanInput& input) {
  bool any = false;
  for (const PlanUnit& unit : units) {
    const std::int32_t chunks_most = unit.row_count * input.options.group_size / kWideRows;
    const std::int64_t cost = unit_cost(input.options, unit);
    if (unit.kind != UnitKind::kShared || chunks_most < 2 || cost <= limit) {
      continue;
    }
    const std::int32_t chunks = parts_of(cost, limit, chunks_most);
    std::int32_t chunk = 1;
    for (std::int32_t i = unit.sequence_begin + 1; i < unit.sequence_end; ++i) {
      const std::int32_t rows = input.sequences[static_cast<std::size_t>(i)].row_begin - unit.row_begin;
      if (static_cast<std::int64_t>(rows) * chunks >= static_cast<std::int64_t>(chunk) * unit.row_count) {
        input.shared_splits[static_cast<std::size_t>(i)] = 0;
        any = true;
        ++chunk;
      }
    }
  }
  return any;
}

bool cut_long_units(const PlanOptions& options, std::int64_t limit, std::span<PlanUnit> units) {
  bool any = false;
  for (PlanUnit& unit : units) {
    unit.pieces = 1;
    const std::int64_t cost = unit_cost(options, unit);
    if (cost > limit && unit.kind != UnitKind::kPath) {
      unit.pieces = parts_of(cost, limit, kv_split_index(unit.key_end - 1) - kv_split_index(unit.key_begin) + 1);
      any = any || unit.pieces > 1;
    }
  }
  return any;
}

// A radix sort of (first split, cost class).
std::span<const std::int32_t> UnitOrder::sort(const PlanOptions& options, std::span<const PlanUnit> units) {
  constexpr int kCostBits = 8;  // of a key: below the split, the cost class
  const std::size_t count = units.size();
  order_.resize(count);
  keys_.resize(count);
  scratch_.resize(count);
  std::uint32_t used = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const PlanUnit& unit = units[i];
    const auto cost = static_cast<std::uint64_t>(unit_cost(options, unit)) / static_cast<std::uint64_t>(unit.pieces);
    const int width = static_cast<int>(std::bit_width(cost));
    const auto quarter = static_cast<std::uint32_t>(width > 2 ? (cost >> (width - 3)) & 3U : 0U);
    const std::uint32_t cost_class = std::min(255U, static_cast<std::uint32_t>(width) * 4U + quarter);
    const auto split = static_cast<std::uint32_t>(kv_split_index(unit.key_begin));
    keys_[i] = split << kCostBits | (255U - cost_class);
    order_[i] = static_cast<std::int32_t>(i);
    used |= keys_[i];
  }
  for (int shift = 0; shift < 32 && (used >> shift) != 0; shift += 8) {
    std::array<std::uint32_t, 257> begin = {};
    for (const std::int32_t index : order_) {
      ++begin[(keys_[static_cast<std::size_t>(index)] >> shift & 0xFFU) + 1];
    }
    for (std::size_t digit = 1; digit < begin.size(); ++digit) {
      begin[digit] += begin[digit - 1];
    }
    for (const std::int32_t index : order_) {
      scratch_[begin[keys_[static_cast<std::size_t>(index)] >> shift & 0xFFU]++] = index;
    }
    order_.swap(scratch_);
  }
  return order_;
}

}  // namespace coppice::kernels
