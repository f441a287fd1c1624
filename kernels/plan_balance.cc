// Cutting units until every worker has something to do, and the order in which they start.
#include <algorithm>
#include <array>
#include <bit>

#include "kernels/kv_split.h"
#include "kernels/plan_builder.h"

namespace coppice::kernels {
namespace {

// Cost of one key for one KV head = what it takes to read it, in matrix rows' worth of computing (measured on Zen 5: a
// key of 128 dimensions is read from memory in the time that 13 rows are multiplied with it).
constexpr std::int64_t kReadCost = 13;
// Smaller items cost more to hand out than they gain (about 10 microseconds).
constexpr std::int64_t kLeastCost = 4096;
// Items a worker should have to choose from, so that the last to finish is not late.
constexpr std::int32_t kItemsPerWorker = 4;
// A node of at least twice this many matrix rows is cut by rows, for it computes more than it reads.
constexpr std::int32_t kWideRows = 64;

}  // namespace

std::int32_t PlanBuilder::units_per_head() const {
  return (options_.workers * kItemsPerWorker + options_.key_heads - 1) / options_.key_heads;
}

// Above this a unit is cut. A power of two, so that it seldom changes while sequences grow.
std::int64_t PlanBuilder::limit_for(std::int64_t total) const {
  const auto share = static_cast<std::uint64_t>(std::max<std::int64_t>(total / units_per_head(), kLeastCost));
  return static_cast<std::int64_t>(std::bit_floor(share));
}

// Keys are counted by whole splits: the cost changes only when a sequence enters a new one.
std::int64_t PlanBuilder::cost_of(std::int32_t key_begin, std::int32_t key_end, std::int32_t rows) const {
  if (key_begin >= key_end) {
    return 0;
  }
  const std::int64_t keys = kv_split_end(key_end - 1) - key_begin;
  return keys * (kReadCost + static_cast<std::int64_t>(rows) * options_.group_size);
}

void PlanBuilder::balance() {
  const auto sum = [this] {
    total_cost_ = 0;
    for (const Unit& unit : units_) {
      total_cost_ += cost_of(unit.key_begin, unit.key_end, unit.row_count);
    }
  };
  if (units_per_head() <= 1) {
    return;  // the key heads alone keep the workers busy
  }
  sum();
  if (cut_wide_nodes(limit_for(total_cost_))) {
    make_units();
    sum();
  }
  const std::int64_t limit = limit_for(total_cost_);
  for (Unit& unit : units_) {
    const std::int64_t cost = cost_of(unit.key_begin, unit.key_end, unit.row_count);
    if (cost > limit && unit.kind != UnitKind::kPath) {
      const std::int32_t splits = kv_split_index(unit.key_end - 1) - kv_split_index(unit.key_begin) + 1;
      unit.pieces = static_cast<std::int32_t>(std::min<std::int64_t>((cost + limit - 1) / limit, splits));
    }
  }
}

// Unshares neighbours inside nodes that have rows enough for several workers. True if anything was cut.
bool PlanBuilder::cut_wide_nodes(std::int64_t limit) {
  bool any = false;
  for (const Unit& unit : units_) {
    const std::int32_t chunks_most = unit.row_count * options_.group_size / kWideRows;
    const std::int64_t cost = cost_of(unit.key_begin, unit.key_end, unit.row_count);
    if (unit.kind != UnitKind::kShared || chunks_most < 2 || cost <= limit) {
      continue;
    }
    const auto chunks = static_cast<std::int32_t>(std::min<std::int64_t>((cost + limit - 1) / limit, chunks_most));
    std::int32_t chunk = 1;
    for (std::int32_t i = unit.sequence_begin + 1; i < unit.sequence_end; ++i) {
      const std::int32_t rows = sequences_[static_cast<std::size_t>(i)].row_begin - unit.row_begin;
      if (static_cast<std::int64_t>(rows) * chunks >= static_cast<std::int64_t>(chunk) * unit.row_count) {
        shared_splits_[static_cast<std::size_t>(i)] = 0;
        any = true;
        ++chunk;
      }
    }
  }
  return any;
}

// Parents first (a child begins at a later split), large before small: radix sort of (first split, cost class).
void PlanBuilder::order_units() {
  constexpr int kCostBits = 8;  // of a key: below the split, the cost class
  const std::size_t count = units_.size();
  order_.resize(count);
  order_keys_.resize(count);
  order_scratch_.resize(count);
  std::uint32_t used = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const Unit& unit = units_[i];
    const auto cost = static_cast<std::uint64_t>(cost_of(unit.key_begin, unit.key_end, unit.row_count)) /
                      static_cast<std::uint64_t>(unit.pieces);
    const int width = static_cast<int>(std::bit_width(cost));
    const auto quarter = static_cast<std::uint32_t>(width > 2 ? (cost >> (width - 3)) & 3U : 0U);
    const std::uint32_t cost_class = std::min(255U, static_cast<std::uint32_t>(width) * 4U + quarter);
    const auto split = static_cast<std::uint32_t>(kv_split_index(unit.key_begin));
    order_keys_[i] = split << kCostBits | (255U - cost_class);
    order_[i] = static_cast<std::int32_t>(i);
    used |= order_keys_[i];
  }
  for (int shift = 0; shift < 32 && (used >> shift) != 0; shift += 8) {
    std::array<std::uint32_t, 257> begin = {};
    for (const std::int32_t index : order_) {
      ++begin[(order_keys_[static_cast<std::size_t>(index)] >> shift & 0xFFU) + 1];
    }
    for (std::size_t digit = 1; digit < begin.size(); ++digit) {
      begin[digit] += begin[digit - 1];
    }
    for (const std::int32_t index : order_) {
      order_scratch_[begin[order_keys_[static_cast<std::size_t>(index)] >> shift & 0xFFU]++] = index;
    }
    order_.swap(order_scratch_);
  }
}

}  // namespace coppice::kernels
