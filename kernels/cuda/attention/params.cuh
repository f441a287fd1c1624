// Parameters of an attention launch, a block's shared control data, and the writing of results.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/attention/device_plan.h"
#include "kernels/cuda/cache/kv_layout.h"

namespace coppice::kernels::cuda {

template <typename Element>
struct AttentionParams {
  Global<const std::int32_t> plan;  // attention/device_plan.h
  Global<float> partial_sums;       // [slot][query head] (m, l)
  Global<float> partial_o;          // [slot][query head][head_dim]
  Global<std::uint32_t> progress;
  Global<const Element> query;
  Global<Element> out;          // null if out_f32 is not; always for f32
  Global<float> out_f32;        // or null
  Global<const Element> cache;  // of the layer
  std::int64_t query_stride;
  std::int64_t out_stride;
  KvLayout layout;
  std::int64_t page_elements;  // of the layout, as the next two: kept, not computed by each warp for each page
  std::int64_t head_elements;
  std::int32_t page_shift;  // log2 of the page size
  std::int32_t query_heads;
  std::int32_t group;   // query heads of a key head
  std::int32_t stages;  // of the pipeline: 1 to 4
  float scale;          // times log2(e)
};

// Writes two neighbouring numbers of the output of one row and head.
template <typename Element>
COPPICE_DEVICE void write_output(const AttentionParams<Element>& params, std::int32_t row, std::int32_t head,
                                 std::int32_t column, float first, float second) {
  const std::int64_t place = row * params.out_stride + std::int64_t{head} * params.layout.head_dim + column;
  // + 0: zeros have one sign, whatever keys of weight 0 were summed.
  if constexpr (kIsHalf<Element>) {
    if (!params.out_f32) {
      store_as(params.out + place, pack_halves<Element>(first + 0.0F, second + 0.0F));
      return;
    }
  }
  store_as(params.out_f32 + place, Vector<float, 2>{{first + 0.0F, second + 0.0F}});
}

template <typename Element>
COPPICE_DEVICE std::int64_t partial_index(const AttentionParams<Element>& params, std::int32_t slot,
                                          std::int32_t head) {
  return std::int64_t{slot} * params.query_heads + head;
}

// Waits until thread 0 reads `count`. All threads call it. ENSURES: what was written before the count is visible to
// all.
COPPICE_DEVICE void wait_for(Global<const std::uint32_t> counter, std::uint32_t count) {
  if (thread_index() == 0) {
    while (load_acquire(counter) != count) {
      rest();
    }
  }
  sync_block();
}

// The first bytes of shared memory: the claim on the next piece of work, the plan's header, the item of the unit under
// way and its number.
inline constexpr std::int32_t kControlBytes = 128;
inline constexpr std::int32_t kControlClaim = 0;
inline constexpr std::int32_t kControlItemNumber = 4;
inline constexpr std::int32_t kControlHeader = 16;
inline constexpr std::int32_t kControlItem = kControlHeader + sizeof(DevicePlanHeader);
static_assert(kControlItem + sizeof(DeviceItem) <= kControlBytes);

// On the GPU only the fields that the caller uses are read.
COPPICE_DEVICE DevicePlanHeader plan_header() {
  return shared_array<const DevicePlanHeader>(kControlHeader)[0];
}

// Copies the plan's header to where plan_header() reads it. All threads call it, once.
template <typename Element>
COPPICE_DEVICE void load_header(const AttentionParams<Element>& params) {
  constexpr std::int32_t kHeaderWords = sizeof(DevicePlanHeader) / sizeof(std::int32_t);  // copied by one thread each
  if (thread_index() < kHeaderWords) {
    shared_array<std::int32_t>(kControlHeader)[thread_index()] = params.plan[thread_index()];
  }
  sync_block();
}

// On the GPU only the fields that the caller uses are read.
COPPICE_DEVICE DeviceItem unit_item() {
  return shared_array<const DeviceItem>(kControlItem)[0];
}

// Copies the item of a piece of work to where unit_item() reads it. All threads call it. REQUIRES: no thread still
// reads the item before it.
template <typename Element>
COPPICE_DEVICE DeviceUnit load_unit(const AttentionParams<Element>& params, const DevicePlanHeader& header,
                                    std::int32_t work) {
  const DeviceUnit unit = pointer_as<const DeviceUnit>(params.plan + header.units)[work / params.layout.key_heads];
  constexpr std::int32_t kItemWords = sizeof(DeviceItem) / sizeof(std::int32_t);  // copied by one thread each
  if (thread_index() < kItemWords) {
    shared_array<std::int32_t>(kControlItem)[thread_index()] =
        params.plan[header.items + unit.item * kItemWords + thread_index()];
  }
  if (thread_index() == 0) {
    shared_array<std::int32_t>(kControlItemNumber)[0] = unit.item;
  }
  sync_block();
  return unit;
}

}  // namespace coppice::kernels::cuda
