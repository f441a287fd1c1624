// The main loop of all attention kernels: blocks stay until all work of a layer is done.
//
// Pieces of work are numbered: first (unit, key head) in the plan's order, then bundles of rows whose partials must be
// merged. Blocks claim them in order from one counter. There are two waits, and both end: an item that continues
// another's states waits for that item's units, which earlier claims run and which wait only for still earlier ones; a
// merge waits for all units that leave partials or states, which have all been claimed. A unit that none waits for
// counts nowhere. The last block to leave resets the counters to zero.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/attention/merge.cuh"
#include "kernels/cuda/attention/params.cuh"

namespace coppice::kernels::cuda {

// REQUIRES: Kernel has Number, Params, kWarps and run_unit(params, header, work), which all threads of a block call.
template <typename Kernel>
struct AttentionLoop {
  using Params = typename Kernel::Params;

  static COPPICE_DEVICE std::int32_t unit_count(const Params& params) {
    return plan_header().unit_count * params.layout.key_heads;
  }

  // Counts the unit where others wait for it; what they read of it is then visible to them. ENSURES: all of the block's
  // reads are done.
  static COPPICE_DEVICE void finish_unit(const Params& params, std::int32_t work) {
    sync_block();  // all of the block's results are written, all of its reads done
    const std::int32_t awaited = unit_item().awaited;
    if (awaited != 0 && thread_index() == 0) {
      const std::int32_t item = shared_array<const std::int32_t>(kControlItemNumber)[0];
      if ((awaited & kAwaitedByItem) != 0) {
        atomic_add_acquire_release(params.progress + (kProgressItems + std::int64_t{item} * params.layout.key_heads +
                                                      work % params.layout.key_heads),
                                   1);
      }
      if ((awaited & kAwaitedByMerge) != 0) {
        atomic_add_acquire_release(params.progress + kProgressUnits, 1);
      }
    }
  }

  // Claims the next piece of work, in thread 0: before the current one begins, to hide the latency.
  static COPPICE_DEVICE std::uint32_t ask(const Params& params) {
    return thread_index() == 0 ? atomic_add(params.progress + kProgressClaims, 1U) : 0U;
  }
  // Returns the claimed piece to all threads. All threads call it.
  static COPPICE_DEVICE std::int32_t begin(Shared<std::uint32_t> control, std::uint32_t next) {
    if (thread_index() == 0) {
      control[0] = next;
    }
    sync_block();
    const auto work = static_cast<std::int32_t>(static_cast<std::uint32_t>(control[0]));
    sync_block();
    return work;
  }

  static COPPICE_DEVICE void run(const Params& params) {
    const Shared<std::uint32_t> control = shared_array<std::uint32_t>(kControlClaim);
    load_header(params);
    std::int32_t work = begin(control, ask(params));
    while (work < unit_count(params)) {
      const std::uint32_t next = ask(params);
      Kernel::run_unit(params, plan_header(), work);
      finish_unit(params, work);
      work = begin(control, next);
    }
    const DevicePlanHeader header = plan_header();
    const std::int32_t units = unit_count(params);
    const MergeBundles merges = merge_bundles<Kernel>(params, header);
    if (work < units + merges.count) {
      wait_for(params.progress + kProgressUnits,
               static_cast<std::uint32_t>(header.merge_units * params.layout.key_heads));
    }
    while (work < units + merges.count) {
      const std::uint32_t next = ask(params);
      run_merges<Kernel>(params, header, merges, work - units);
      work = begin(control, next);
    }
    leave(params, control);
  }

  static COPPICE_DEVICE void leave(const Params& params, Shared<std::uint32_t> control) {
    if (thread_index() == 0) {
      control[0] = atomic_add_acquire_release(params.progress + kProgressBlocks, 1);
    }
    sync_block();
    const std::uint32_t before = control[0];
    if (before + 1 != static_cast<std::uint32_t>(block_count())) {
      return;
    }
    const std::int32_t words = kProgressItems + plan_header().item_count * params.layout.key_heads;
    for (std::int32_t i = thread_index(); i < words; i += thread_count()) {
      params.progress[i] = 0U;
    }
  }
};

}  // namespace coppice::kernels::cuda
