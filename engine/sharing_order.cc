// Keeping sequences with common pages side by side.
#include "engine/sharing_order.h"

#include <algorithm>

#include "base/check.h"
#include "engine/common_prefix.h"

namespace coppice::engine {

// The new entry goes behind the last of the entries with which it has the most pages in common; behind all when it has
// none in common with any. Walking the list, the pages in common with an entry follow from those with the entry before,
// `common`: where the two entries differ earlier than that, they are fewer; where later, they are the same; only where
// they differ just there are page tables compared, from there on.
void SharingOrder::insert(SequenceSlot slot) {
  const std::span<const PageId> mine = pages_(slot);
  std::size_t position = entries_.size();
  std::int32_t most = 0;
  std::int32_t common = 0;
  std::int32_t common_behind = 0;  // with the entry that will stand behind the new one
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const std::int32_t with_previous = entries_[i].shared_pages;
    common = with_previous == common ? common_prefix(mine, pages_(entries_[i].slot), common)
                                     : std::min(common, with_previous);
    if (common > 0 && common >= most) {
      most = common;
      position = i + 1;
    } else if (position == i) {
      common_behind = common;
    }
  }
  if (position < entries_.size()) {
    entries_[position].shared_pages = common_behind;
  }
  entries_.insert(entries_.begin() + static_cast<std::ptrdiff_t>(position), Entry{slot, most});
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
  COPPICE_CHECK(entries_.empty() || entries_[0].shared_pages == 0,
                "order.contiguous: the first entry shares with none");
  for (std::size_t i = 1; i < entries_.size(); ++i) {
    const std::int32_t common = common_prefix(pages_(entries_[i - 1].slot), pages_(entries_[i].slot));
    COPPICE_CHECK(common == entries_[i].shared_pages, "order.contiguous: a stale count of shared pages");
  }
}

}  // namespace coppice::engine
