// A model of the time that the CUDA attention kernel takes for a plan: a discrete simulation of its blocks, which claim
// units, start, stream keys, write and wait as kernels/cuda/attention does. It predicts; it measures nothing. Its use
// is to compare plans and kernels where no GPU is at hand, and to choose the planner's constants.
//
// What it knows of the kernel are numbers of instructions, counted in the machine code for sm_90a at head dimension
// 128, and times of latencies; KernelCosts says where each is from.
#pragma once

#include <cstdint>

#include "kernels/attention_plan.h"
#include "kernels/bench/gpu_class.h"

namespace coppice::kernels {

// Of the tensor-core kernel at head dimension 128 with 16-bit keys; instructions are of one warp.
struct KernelCosts {
  double copy_step = 120;       // instructions: copies of sixteen keys and values, and the place of the next
  double stage = 60;            // of a stage: barriers, cursors
  double score_step = 100;      // scores of sixteen keys and their mask
  double apart_step = 247;      // scores, softmax and sums over all columns: the loop of one warp
  double together_step = 110;   // softmax and sums over a quarter of the columns
  double merge_fragment = 420;  // one split's results into the total, all columns
  double cycles_alone = 2.8;    // cycles an instruction of a lone warp: 1,500 estimated for 534
  double issue_share = 0.7;     // of the four schedulers' instructions that mixed warps reach
  double first_data_us = 0.75;  // from a copy to its data, memory
  double unit_start_us = 1.2;   // unit, item, positions, page: loads one after the other, 0.3 each
  double unit_end_us = 0.3;     // results written
  double unit_count_us = 1.0;   // and two counters, where another unit or the merge waits
  double merge_batch_us = 0.9;  // 32 partials of a row
  double launch_us = 3.0;       // from the end of the kernel before to the first claim, and the last block's leave
};

// What one launch does. Times in microseconds.
struct AttentionForecast {
  double us = 0;
  double bound_us = 0;       // K and V of every node once, at the copy bandwidth
  double busy_share = 0;     // of the warps' time in which they compute or copy
  double partial_bytes = 0;  // written; they are read again by the merge
  double read_bytes = 0;     // of K and V, by all units
  double merge_us = 0;
  std::int64_t units = 0;  // pieces of work: blocks of an item's rows x key heads
  enum class Limit : std::uint8_t { kMemory, kCache, kIssue, kLatency, kFixed } limit = Limit::kMemory;
};

// What most of the streaming time waited for, as a word.
const char* limit_name(AttentionForecast::Limit limit);

struct AttentionModelInput {
  const AttentionPlan* plan = nullptr;
  std::int32_t query_heads = 0;
  std::int32_t key_heads = 0;
  std::int64_t unique_keys = 0;  // of all nodes: what must be read once
};

// Plays the plan on a GPU. REQUIRES: head dimension 128, 16-bit keys.
AttentionForecast forecast_attention(const AttentionModelInput& input, const GpuClass& gpu, const KernelCosts& costs);

}  // namespace coppice::kernels
