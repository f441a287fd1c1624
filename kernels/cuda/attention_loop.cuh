// What all attention kernels do: blocks that stay until all work of a layer is done.
//
// Pieces of work are numbered: first (unit, key head) in the plan's order, then bundles of rows whose partials are to
// be merged. Blocks claim them in order from one counter. Two waits are possible, and both end: an item that continues
// another's states waits for that item's units, which were claimed earlier, by blocks that wait only for still earlier
// ones; a merge waits for all units, which have all been claimed. The last block to leave sets the counters back.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/attention_merge.cuh"
#include "kernels/cuda/attention_params.cuh"

namespace coppice::kernels::cuda {

// Kernel has Number, Params, kWarps and run_unit(params, header, work), which all threads of a block call.
template <typename Kernel>
struct AttentionLoop {
  using Params = typename Kernel::Params;

  static COPPICE_DEVICE void finish_unit(const Params& params, const DevicePlanHeader& header, std::int32_t work) {
    sync_block();  // all of the block's results are written, all of its reads done
    if (thread_index() == 0) {
      const DeviceUnit unit = pointer_as<const DeviceUnit>(params.plan + header.units)[work / params.layout.key_heads];
      atomic_add_acquire_release(params.progress + (kProgressItems + std::int64_t{unit.item} * params.layout.key_heads +
                                                    work % params.layout.key_heads),
                                 1);
      atomic_add_acquire_release(params.progress + kProgressUnits, 1);
    }
  }

  static COPPICE_DEVICE void run(const Params& params) {
    const DevicePlanHeader header = pointer_as<const DevicePlanHeader>(params.plan)[0];
    const std::int32_t units = header.unit_count * params.layout.key_heads;
    const MergeBundles merges = merge_bundles<Kernel>(params, header);
    const Shared<std::uint32_t> control = shared_array<std::uint32_t>(kControlClaim);
    if (thread_index() == 0) {
      control[0] = atomic_add(params.progress + kProgressClaims, 1U);
    }
    bool units_done = false;
    for (;;) {
      sync_block();
      const auto work = static_cast<std::int32_t>(static_cast<std::uint32_t>(control[0]));
      sync_block();
      if (work >= units + merges.count) {
        break;
      }
      std::uint32_t next = 0;
      if (thread_index() == 0) {  // asked for now, needed when this work is done
        next = atomic_add(params.progress + kProgressClaims, 1U);
      }
      if (work < units) {
        Kernel::run_unit(params, header, work);
        finish_unit(params, header, work);
      } else {
        if (!units_done) {
          wait_for(params.progress + kProgressUnits, static_cast<std::uint32_t>(units));
          units_done = true;
        }
        run_merges<Kernel>(params, header, merges, work - units);
      }
      if (thread_index() == 0) {
        control[0] = next;
      }
    }
    leave(params, header, control);
  }

  static COPPICE_DEVICE void leave(const Params& params, const DevicePlanHeader& header,
                                   Shared<std::uint32_t> control) {
    if (thread_index() == 0) {
      control[0] = atomic_add_acquire_release(params.progress + kProgressBlocks, 1);
    }
    sync_block();
    const std::uint32_t before = control[0];
    if (before + 1 != static_cast<std::uint32_t>(block_count())) {
      return;
    }
    const std::int32_t words = kProgressItems + header.item_count * params.layout.key_heads;
    for (std::int32_t i = thread_index(); i < words; i += thread_count()) {
      params.progress[i] = 0U;
    }
  }
};

}  // namespace coppice::kernels::cuda
