// Where a token's K and V are on the GPU: [layer][page][key head][K, V][place in page][head_dim]. Sixteen keys of a
// page are contiguous, so that a warp copies whole lines; K and V of a head are side by side; the pages of a layer are
// together, so that a layer's attention touches few TLB entries.
#pragma once

#include <cstdint>

#include "base/types.h"

namespace coppice::kernels::cuda {

// Offsets in elements, not bytes. A plain value: it goes to kernels as a parameter.
struct KvLayout {
  std::int32_t layers = 0;
  std::int32_t pages = 0;
  std::int32_t key_heads = 0;
  std::int32_t page_size = 16;  // 16, 32, 64 or 128
  std::int32_t head_dim = 0;    // a multiple of 8

  static constexpr std::int32_t kPlaneKey = 0;    // index of the keys in a page
  static constexpr std::int32_t kPlaneValue = 1;  // and of the values

  // Elements of K (or of V) of one page and head.
  constexpr std::int64_t plane_elements() const { return std::int64_t{page_size} * head_dim; }
  constexpr std::int64_t head_elements() const { return 2 * plane_elements(); }
  constexpr std::int64_t page_elements() const { return key_heads * head_elements(); }
  constexpr std::int64_t layer_elements() const { return pages * page_elements(); }
  constexpr std::int64_t elements() const { return layers * layer_elements(); }

  // First element of a page's K or V for one head; its page_size * head_dim numbers follow.
  constexpr std::int64_t plane(std::int32_t layer, PageId page, std::int32_t head, std::int32_t which) const {
    return layer * layer_elements() + page * page_elements() + head * head_elements() + which * plane_elements();
  }
  // First element of one token's K or V for one head; its head_dim numbers follow.
  constexpr std::int64_t token(std::int32_t layer, KvSlot slot, std::int32_t head, std::int32_t which) const {
    return plane(layer, slot / page_size, head, which) + std::int64_t{slot % page_size} * head_dim;
  }
};

}  // namespace coppice::kernels::cuda
