// Units as times and bytes, and the simulation of the blocks that share a GPU.
#include "kernels/bench/attention_model.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <vector>

#include "kernels/cuda/attention/device_plan.h"
#include "kernels/key_positions.h"

namespace coppice::kernels {
namespace {

constexpr std::int32_t kHeadDim = 128;                  // that the costs were counted for
constexpr double kKeyBytes = 2.0 * kHeadDim * 2;        // a key and its value, of 16 bits
constexpr double kPartialBytes = (kHeadDim + 2) * 4.0;  // (m, l, o) of a row and head, float32
constexpr std::int32_t kWarpsLog2 = 2;                  // of a block's four warps
constexpr std::int32_t kWarps = 1 << kWarpsLog2;        // of a block
constexpr std::int32_t kStepKeys = 16;                  // of a step: the k of a product
constexpr std::int32_t kBlockRows = kWarps * 16;        // matrix rows of a block
constexpr std::int32_t kMergeColumns = 64;              // of a head that a warp merges
constexpr std::int32_t kMergeBatch = 32;                // partials that the merge reads together
constexpr std::int32_t kSchedulers = 4;                 // of a multiprocessor: an instruction a cycle each

// A unit of one key head.
struct Unit {
  std::int32_t item = 0;
  std::int32_t head = 0;
  std::int32_t after = -1;
  double bytes = 0;               // of keys and values
  double instructions = 0;        // of all warps
  double stream_us = 0;           // if it had the multiprocessor and the memory for itself
  bool waits_for_copies = false;  // its ring limits it, not its instructions
  double end_us = 0;
};

// The keys of an item as the lengths of its splits.
std::vector<std::int32_t> split_lengths(const AttentionItem& item) {
  std::vector<std::int32_t> lengths;
  for (std::int32_t key = item.key_begin; key < item.key_end; key = kv_split_end(key)) {
    lengths.push_back(std::min(kv_split_end(key), item.key_end) - key);
  }
  return lengths;
}

// Fills in what a block of `rows` matrix rows does with these splits.
void time_unit(const std::vector<std::int32_t>& splits, std::int32_t rows, const GpuClass& gpu,
               const KernelCosts& costs, Unit& unit) {
  const auto deal = cuda::deal_attention(kWarpsLog2, rows, static_cast<std::int32_t>(splits.size()), true);
  const std::int32_t side_by_side = 1 << deal.splits_log2;
  const std::int32_t stage_steps = kWarps / side_by_side;  // of each split
  const std::int32_t tiles = (rows + 15) / 16;
  const bool together = deal.shares_log2 > 0;
  double path = 0;  // instructions of the slowest warp
  double stages = 0;
  for (std::size_t first = 0; first < splits.size(); first += static_cast<std::size_t>(side_by_side)) {
    std::int32_t longest = 0;
    double steps = 0;  // of all splits of the round
    for (std::size_t i = first; i < std::min(splits.size(), first + static_cast<std::size_t>(side_by_side)); ++i) {
      longest = std::max(longest, (splits[i] + kStepKeys - 1) / kStepKeys);
      steps += (splits[i] + kStepKeys - 1) / kStepKeys;
    }
    const std::int32_t round_stages = (longest + stage_steps - 1) / stage_steps;
    stages += round_stages;
    path += round_stages * (costs.stage + costs.copy_step);
    unit.instructions += round_stages * kWarps * costs.stage + steps * costs.copy_step;
    if (together) {
      path += round_stages * costs.score_step + longest * costs.together_step + costs.merge_fragment / kWarps;
      unit.instructions += steps * (costs.score_step + kWarps * costs.together_step) + costs.merge_fragment;
    } else {
      path += longest * costs.apart_step + side_by_side * costs.merge_fragment;
      unit.instructions += tiles * (steps * costs.apart_step + side_by_side * costs.merge_fragment);
    }
  }
  const double work_us = path * costs.cycles_alone / (gpu.clock_ghz * 1e3);
  const double stage_bytes = stages > 0 ? unit.bytes / stages : 0;
  const double ahead = std::max(1, gpu.stages - 1);
  const double copy_us = stage_bytes > 0 ? unit.bytes / (ahead * stage_bytes / costs.first_data_us) : 0;
  unit.stream_us = std::max({work_us, copy_us, 1e-3});
  unit.waits_for_copies = copy_us > work_us;
}

std::vector<Unit> make_units(const AttentionModelInput& input, const GpuClass& gpu, const KernelCosts& costs,
                             AttentionForecast& forecast) {
  std::vector<Unit> units;
  const std::int32_t group = input.query_heads / input.key_heads;
  for (std::size_t i = 0; i < input.plan->items.size(); ++i) {
    const AttentionItem& item = input.plan->items[i];
    const std::vector<std::int32_t> splits = split_lengths(item);
    const std::int32_t matrix_rows = item.row_count * group;
    for (std::int32_t row = 0; row < matrix_rows; row += kBlockRows) {
      const std::int32_t rows = std::min(kBlockRows, matrix_rows - row);
      Unit unit;
      unit.item = static_cast<std::int32_t>(i);
      unit.after = item.after;
      unit.bytes = (item.key_end - item.key_begin) * kKeyBytes;
      time_unit(splits, rows, gpu, costs, unit);
      const double partials =
          item.folds && item.writes_output ? 0 : rows * (item.folds ? 1.0 : static_cast<double>(splits.size()));
      const bool is_awaited = !(item.folds && item.writes_output);
      unit.end_us = costs.unit_end_us + (is_awaited ? costs.unit_count_us : 0) +
                    partials * kPartialBytes / (gpu.l2_gb_per_s * 1e3 / gpu.multiprocessors);
      for (std::int32_t head = 0; head < input.key_heads; ++head) {
        unit.head = head;
        units.push_back(unit);
        forecast.read_bytes += unit.bytes;
        forecast.partial_bytes += partials * kPartialBytes;
      }
    }
  }
  forecast.units = static_cast<std::int64_t>(units.size());
  return units;
}

// The blocks of a launch until every unit is done.
class Simulation {
 public:
  Simulation(const AttentionModelInput& input, const GpuClass& gpu, const KernelCosts& costs,
             const std::vector<Unit>& units, double unique_share)
      : gpu_(gpu), costs_(costs), units_(units), key_heads_(input.key_heads), unique_share_(unique_share) {
    left_.resize(input.plan->items.size() * static_cast<std::size_t>(key_heads_));
    for (const Unit& unit : units_) {
      ++left_[place(unit.item, unit.head)];
    }
    blocks_.resize(static_cast<std::size_t>(gpu.multiprocessors) * static_cast<std::size_t>(gpu.blocks));
    issue_.resize(static_cast<std::size_t>(gpu.multiprocessors));
  }

  // Returns the time of the last end.
  double run();
  // Which limit took most of the blocks' time.
  AttentionForecast::Limit limit() const {
    return static_cast<AttentionForecast::Limit>(std::max_element(limits_.begin(), limits_.end()) - limits_.begin());
  }

 private:
  enum class Phase : std::uint8_t { kClaims, kStarts, kWaits, kStreams, kEnds, kLeft };
  struct Block {
    Phase phase = Phase::kClaims;
    std::size_t unit = 0;
    double left = 0;  // microseconds of a start or end; of a stream, as if it were alone
    double rate = 1;  // of a stream
    AttentionForecast::Limit limit = AttentionForecast::Limit::kFixed;
  };

  std::size_t place(std::int32_t item, std::int32_t head) const {
    return static_cast<std::size_t>(item) * static_cast<std::size_t>(key_heads_) + static_cast<std::size_t>(head);
  }
  void settle(Block& block);
  void share();
  void advance(double us);

  const GpuClass& gpu_;
  const KernelCosts& costs_;
  const std::vector<Unit>& units_;
  std::int32_t key_heads_;
  double unique_share_;             // of the bytes that units read: the rest is found in the cache
  std::vector<std::int32_t> left_;  // units of an item and head that are not done
  std::vector<Block> blocks_;
  std::vector<double> issue_;  // of a multiprocessor: the part of the streams' instructions that it has room for
  std::size_t next_ = 0;
  std::array<double, 5> limits_ = {};  // microseconds of blocks by AttentionForecast::Limit
};

// Brings a block whose phase is over to one that takes time.
void Simulation::settle(Block& block) {
  while (block.left <= 1e-9 && block.phase != Phase::kLeft) {
    const Unit& unit = units_[block.unit];
    switch (block.phase) {
      case Phase::kClaims:
        if (next_ == units_.size()) {
          block.phase = Phase::kLeft;
          return;
        }
        block.unit = next_++;
        block.phase = Phase::kStarts;
        block.left = costs_.unit_start_us + costs_.first_data_us;
        return;
      case Phase::kStarts:
        block.phase = Phase::kWaits;
        break;
      case Phase::kWaits:
        if (unit.after >= 0 && left_[place(unit.after, unit.head)] > 0) {
          return;
        }
        block.phase = Phase::kStreams;
        block.left = unit.stream_us;
        return;
      case Phase::kStreams:
        block.phase = Phase::kEnds;
        block.left = unit.end_us;
        return;
      case Phase::kEnds:
        --left_[place(unit.item, unit.head)];
        block.phase = Phase::kClaims;
        break;
      case Phase::kLeft:
        return;
    }
  }
}

// Gives each stream its rate: what its multiprocessor's schedulers, the memory and the cache leave it.
void Simulation::share() {
  std::fill(issue_.begin(), issue_.end(), 0.0);
  double wanted = 0;  // bytes a microsecond
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (blocks_[i].phase == Phase::kStreams) {
      const Unit& unit = units_[blocks_[i].unit];
      issue_[i % issue_.size()] += unit.instructions / unit.stream_us;
      wanted += unit.bytes / unit.stream_us;
    }
  }
  const double room = kSchedulers * costs_.issue_share * gpu_.clock_ghz * 1e3;  // instructions a microsecond
  for (double& issue : issue_) {
    issue = issue > room ? room / issue : 1.0;
  }
  const double memory = gpu_.copy_gb_per_s * 1e3 / std::max(1e-9, wanted * unique_share_);
  const double cache = gpu_.l2_gb_per_s * 1e3 / std::max(1e-9, wanted);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    Block& block = blocks_[i];
    if (block.phase != Phase::kStreams) {
      block.rate = 1;
      block.limit = AttentionForecast::Limit::kFixed;
      continue;
    }
    const double issue = issue_[i % issue_.size()];
    block.rate = std::min({1.0, issue, memory, cache});
    block.limit = block.rate >= 1.0      ? (units_[block.unit].waits_for_copies ? AttentionForecast::Limit::kLatency
                                                                                : AttentionForecast::Limit::kIssue)
                  : block.rate == memory ? AttentionForecast::Limit::kMemory
                  : block.rate == cache  ? AttentionForecast::Limit::kCache
                                         : AttentionForecast::Limit::kIssue;
  }
}

void Simulation::advance(double us) {
  for (Block& block : blocks_) {
    limits_[static_cast<std::size_t>(block.limit)] += us;
    if (block.phase != Phase::kLeft && block.phase != Phase::kWaits) {
      block.left = std::max(0.0, block.left - us * block.rate);
    }
  }
}

double Simulation::run() {
  double now = 0;
  for (;;) {
    for (int pass = 0; pass < 2; ++pass) {  // twice: what ends in the first pass may be waited for
      for (Block& block : blocks_) {
        settle(block);
      }
    }
    share();
    double next = std::numeric_limits<double>::infinity();
    for (const Block& block : blocks_) {
      if (block.phase != Phase::kLeft && block.phase != Phase::kWaits) {
        next = std::min(next, block.left / block.rate);
      }
    }
    if (next == std::numeric_limits<double>::infinity()) {
      return now;
    }
    advance(next);
    now += next;
  }
}

// The rows whose partials are merged, when all units are done.
double merge_time(const AttentionModelInput& input, const GpuClass& gpu, const KernelCosts& costs,
                  const AttentionForecast& forecast) {
  const std::vector<std::int32_t>& begin = input.plan->row_partial_begin;
  double longest = 0;
  double total = 0;
  for (std::size_t row = 1; row < begin.size(); ++row) {
    const std::int32_t partials = begin[row] - begin[row - 1];
    if (partials > 0) {
      const double us = costs.merge_batch_us * static_cast<double>((partials + kMergeBatch - 1) / kMergeBatch);
      longest = std::max(longest, us);
      total += us * input.query_heads * (kHeadDim / kMergeColumns);
    }
  }
  if (total == 0) {
    return 0;
  }
  const double warps = static_cast<double>(gpu.multiprocessors) * gpu.blocks * kWarps;
  return costs.first_data_us + std::max(longest, total / warps) + forecast.partial_bytes / (gpu.l2_gb_per_s * 1e3);
}

}  // namespace

const char* limit_name(AttentionForecast::Limit limit) {
  switch (limit) {
    case AttentionForecast::Limit::kMemory:
      return "memory";
    case AttentionForecast::Limit::kCache:
      return "cache";
    case AttentionForecast::Limit::kIssue:
      return "instructions";
    case AttentionForecast::Limit::kLatency:
      return "latency";
    case AttentionForecast::Limit::kFixed:
      break;
  }
  return "starts and ends";
}

AttentionForecast forecast_attention(const AttentionModelInput& input, const GpuClass& gpu, const KernelCosts& costs) {
  AttentionForecast forecast;
  const std::vector<Unit> units = make_units(input, gpu, costs, forecast);
  const double unique_bytes = static_cast<double>(input.unique_keys) * input.key_heads * kKeyBytes;
  Simulation simulation(input, gpu, costs, units, std::min(1.0, unique_bytes / std::max(1.0, forecast.read_bytes)));
  const double units_us = simulation.run();
  forecast.limit = simulation.limit();
  forecast.merge_us = merge_time(input, gpu, costs, forecast);
  forecast.us = costs.launch_us + units_us + forecast.merge_us;
  forecast.bound_us = unique_bytes / (gpu.copy_gb_per_s * 1e3);
  double instructions = 0;
  for (const Unit& unit : units) {
    instructions += unit.instructions;
  }
  const double warps = static_cast<double>(gpu.multiprocessors) * gpu.blocks * kWarps;
  forecast.busy_share =
      std::min(1.0, instructions * costs.cycles_alone / (gpu.clock_ghz * 1e3) / (warps * forecast.us));
  return forecast;
}

}  // namespace coppice::kernels
