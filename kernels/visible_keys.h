// The visibility rule: a row at position p attends to keys k <= p and, with a sliding window of w tokens, k > p - w.
// Planner, CPU and GPU all ask here.
#pragma once

#include <cstdint>

namespace coppice::kernels {

// The first key that a row at `position` sees; 0 or less: the very first. window: 0 = none.
[[gnu::always_inline]] constexpr std::int32_t visible_begin(std::int32_t position, std::int32_t window) {
  return window > 0 ? position - window + 1 : 0;
}

// One past the last key that a row at `position` sees.
[[gnu::always_inline]] constexpr std::int32_t visible_end(std::int32_t position) {
  return position + 1;
}

}  // namespace coppice::kernels
