// Keeping sequences with common pages side by side.
#include "engine/sharing_order.h"

#include <algorithm>

#include "base/check.h"
#include "engine/common_prefix.h"

namespace coppice::engine {

void SharingOrder::insert(SequenceSlot slot) {
  const std::span<const PageId> mine = pages_(slot);
  std::size_t place = entries_.size();
  std::int32_t best = 0;
  std::int32_t after = 0;  // pages in common with the entry at `place`
  std::int32_t common = 0;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const std::int32_t step = entries_[i].shared_pages;
    if (i == 0 || step == common) {
      common = common_prefix(mine, pages_(entries_[i].slot), i == 0 ? 0 : common);
    } else {
      common = std::min(common, step);
    }
    if (common > 0 && common >= best) {
      best = common;
      place = i + 1;
    } else if (place == i) {
      after = common;  // the group of the best ends here
    }
  }
  if (place < entries_.size()) {
    entries_[place].shared_pages = after;
  }
  entries_.insert(entries_.begin() + static_cast<std::ptrdiff_t>(place), Entry{slot, best});
}

void SharingOrder::remove(SequenceSlot slot) {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [slot](const Entry& entry) { return entry.slot == slot; });
  COPPICE_CHECK(found != entries_.end(), "the sequence is not in the order");
  const std::int32_t shared = found->shared_pages;
  const auto next = entries_.erase(found);
  if (next != entries_.end()) {
    next->shared_pages = std::min(next->shared_pages, shared);
  }
}

void SharingOrder::check_integrity() const {
  for (std::size_t i = 1; i < entries_.size(); ++i) {
    const std::int32_t common = common_prefix(pages_(entries_[i - 1].slot), pages_(entries_[i].slot));
    COPPICE_CHECK(common == entries_[i].shared_pages, "order.contiguous: a stale count of shared pages");
  }
}

}  // namespace coppice::engine
