// Where a token's K and V lie: the one place that turns a position into a KV slot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/types.h"

namespace coppice::kernels {

// Slot of the token at `position` of a sequence with this page table. REQUIRES: the table covers the position.
inline KvSlot kv_slot(std::span<const PageId> pages, std::int32_t page_size, std::int32_t position) {
  return pages[static_cast<std::size_t>(position / page_size)] * page_size + position % page_size;
}

}  // namespace coppice::kernels
