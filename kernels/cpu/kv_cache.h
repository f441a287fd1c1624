// The KV pages of all layers in host memory, in the layout of kv_layout.h, and the pool's operations on them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "base/types.h"
#include "kernels/cpu/kv_layout.h"
#include "kernels/device.h"

namespace coppice::kernels::cpu {

// Return whether the CPU has a cache in this format, and attends to it with queries of this type.
bool keeps(KvFormat format);
bool attends(ComputeType query, KvFormat kv);

// Returns the layout of a geometry. REQUIRES: the geometry is valid (make_cpu_kv_cache checks it).
KvLayout kv_layout_of(const KvGeometry& geometry);

// Owner: the engine's pool. Thread: the engine's; its workers write distinct slots. Values (not keys) are finite:
// rope_and_store replaces an infinity or NaN by the largest number, so that a masked key (weight 0) cannot reach
// another row. The NaN of a broken row still shows in its key.
class CpuKvCache : public KvCache {
 public:
  CpuKvCache(const KvGeometry& geometry, int workers, Buffer memory);

  const KvLayout& layout() const { return layout_; }
  // First word of one head's pages in one layer.
  std::uint32_t* head(std::int32_t layer, std::int32_t key_head) {
    return static_cast<std::uint32_t*>(memory_.data()) + layer * layout_.layer_words + key_head * layout_.head_words;
  }
  const std::uint32_t* head(std::int32_t layer, std::int32_t key_head) const {
    return static_cast<const std::uint32_t*>(memory_.data()) + layer * layout_.layer_words +
           key_head * layout_.head_words;
  }

 private:
  KvLayout layout_;
  Buffer memory_;
};

// Allocates zeroed pages. ERRORS: InvalidArgument (a geometry this device cannot serve: head_dim not a multiple of 8 in
// 8 … 256, page_size not 16, 32, 64 or 128, a format that it does not keep), ResourceExhausted.
absl::StatusOr<std::unique_ptr<KvCache>> make_cpu_kv_cache(const KvGeometry& geometry, int workers);

// Copies one page in every layer and head. REQUIRES: `cache` was made by make_cpu_kv_cache.
void copy_page(KvCache& cache, PageId from, PageId to);

// Copies single slots in every layer and head, in the order of the list. REQUIRES: as copy_page.
void move_slots(KvCache& cache, std::span<const SlotMove> moves);

}  // namespace coppice::kernels::cpu
