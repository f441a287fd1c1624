// PageHold: the KV pages of one sequence and what is computed in them.
#pragma once

#include <cstdint>

#include "engine/kv_pool.h"
#include "engine/radix_tree.h"

namespace coppice::engine {

// Owner: PageKeeper, which alone writes it; the others read.
class PageHold {
 public:
  const PageTable& pages() const { return pages_; }
  // Changes whenever an entry of pages() is dropped or replaced; appending keeps it.
  std::uint64_t identity() const { return identity_; }
  // Leading tokens whose KV is in pages(), or will be when the step that runs is over.
  std::int32_t computed() const { return computed_; }
  // Leading tokens that the prefix cache has, locked for this sequence: whole pages.
  std::int32_t cached() const { return lock_.token_count(); }

 private:
  friend class PageKeeper;

  RadixLock lock_;
  PageTable pages_;  // after the lock, so that pages are given up first
  std::uint64_t identity_ = 0;
  std::int32_t computed_ = 0;
  bool in_order_ = false;   // it stands in the sharing order: the sequence runs
  bool pin_tried_ = false;  // its prompt is pinned, or cannot be
};

}  // namespace coppice::engine
