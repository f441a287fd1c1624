// Positions of keys: which keys a row sees, where a row's keys are split, and in which slot a position lies. The
// planner and every device ask here, so none has a rule of its own.
#pragma once

#include <cstdint>
#include <span>

#include "base/types.h"

namespace coppice::kernels {

// --- visibility: a row at position p sees keys k <= p and, with a sliding window of w tokens, k > p - w ---

// The first key that a row at `position` sees; 0 or less: the very first. window: 0 = none.
[[gnu::always_inline]] constexpr std::int32_t visible_begin(std::int32_t position, std::int32_t window) {
  return window > 0 ? position - window + 1 : 0;
}

// One past the last key that a row at `position` sees.
[[gnu::always_inline]] constexpr std::int32_t visible_end(std::int32_t position) {
  return position + 1;
}

// --- slots ---

// Slot of `position` in the page that holds it.
constexpr KvSlot kv_slot(PageId page, std::int32_t page_size, std::int32_t position) {
  return page * page_size + position % page_size;
}

// Slot of the token at `position` of a sequence with this page table. REQUIRES: the table covers the position.
inline KvSlot kv_slot(std::span<const PageId> pages, std::int32_t page_size, std::int32_t position) {
  return kv_slot(pages[static_cast<std::size_t>(position / page_size)], page_size, position);
}

// --- splits (Flash-Decoding): a fixed function of absolute position, small near the start, where short prompts live
// and sharing ends early; larger further on, where partial results would cost more than they give. Because nothing else
// enters, a row's answer is the same alone, in any batch, with any sharing. ---

// Splits are [0,128) [128,256) … up to 2,048 in steps of 128; up to 16,384 in steps of 256; then in steps of 512. Every
// boundary is a multiple of 128, so of every page size we allow (16, 32, 64, 128).
inline constexpr std::int32_t kSmallSplit = 128;
inline constexpr std::int32_t kSmallSplitEnd = 2048;
inline constexpr std::int32_t kMediumSplit = 256;
inline constexpr std::int32_t kMediumSplitEnd = 16384;
inline constexpr std::int32_t kLargeSplit = 512;

// First position of the split that holds `position`.
constexpr std::int32_t kv_split_begin(std::int32_t position) {
  if (position < kSmallSplitEnd) {
    return position - position % kSmallSplit;
  }
  if (position < kMediumSplitEnd) {
    return position - position % kMediumSplit;
  }
  return position - position % kLargeSplit;
}

// One past the last position of the split that holds `position`.
constexpr std::int32_t kv_split_end(std::int32_t position) {
  const std::int32_t begin = kv_split_begin(position);
  if (position < kSmallSplitEnd) {
    return begin + kSmallSplit;
  }
  return begin + (position < kMediumSplitEnd ? kMediumSplit : kLargeSplit);
}

// Index, from 0, of the split that holds `position`.
constexpr std::int32_t kv_split_index(std::int32_t position) {
  if (position < kSmallSplitEnd) {
    return position / kSmallSplit;
  }
  constexpr std::int32_t kSmallCount = kSmallSplitEnd / kSmallSplit;  // splits before kSmallSplitEnd
  if (position < kMediumSplitEnd) {
    return kSmallCount + (position - kSmallSplitEnd) / kMediumSplit;
  }
  // Splits from there to kMediumSplitEnd.
  constexpr std::int32_t kMediumCount = (kMediumSplitEnd - kSmallSplitEnd) / kMediumSplit;
  return kSmallCount + kMediumCount + (position - kMediumSplitEnd) / kLargeSplit;
}

// First position of the split with this index: the inverse of kv_split_index.
constexpr std::int32_t kv_split_position(std::int32_t index) {
  constexpr std::int32_t kSmallCount = kSmallSplitEnd / kSmallSplit;  // splits before kSmallSplitEnd
  // Splits from there to kMediumSplitEnd.
  constexpr std::int32_t kMediumCount = (kMediumSplitEnd - kSmallSplitEnd) / kMediumSplit;
  if (index <= kSmallCount) {
    return index * kSmallSplit;
  }
  if (index <= kSmallCount + kMediumCount) {
    return kSmallSplitEnd + (index - kSmallCount) * kMediumSplit;
  }
  return kMediumSplitEnd + (index - kSmallCount - kMediumCount) * kLargeSplit;
}

// How many whole splits lie in [0, length).
constexpr std::int32_t kv_split_whole(std::int32_t length) {
  return kv_split_index(length);
}

}  // namespace coppice::kernels
