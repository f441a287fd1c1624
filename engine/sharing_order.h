// SharingOrder: the running sequences in depth-first order of the tree that their page tables form: for every k, those
// that share their first k pages stand side by side. Kept step by step, so a steady batch costs nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "base/types.h"

namespace coppice::engine {

// Owner: PageKeeper. Thread: the engine's.
// Invariant order.contiguous: for every k, entries with the same first k pages are contiguous, and an entry's
// shared_pages is the exact number of leading pages in common with the entry before.
class SharingOrder {
 public:
  struct Entry {
    SequenceSlot slot = kNoSequence;
    std::int32_t shared_pages = 0;
  };

  // The pages of a sequence in order of position.
  using PagesOf = std::function<std::span<const PageId>(SequenceSlot)>;

  explicit SharingOrder(PagesOf pages) : pages_(std::move(pages)) {}

  // O(entries + pages): one comparison is carried along the list, never restarted.
  void insert(SequenceSlot slot);
  void remove(SequenceSlot slot);
  // After a page of its table was replaced. Appending own pages needs no call.
  void refresh(SequenceSlot slot) {
    remove(slot);
    insert(slot);
  }
  std::span<const Entry> entries() const { return entries_; }
  void check_integrity() const;

 private:
  const PagesOf pages_;
  std::vector<Entry> entries_;
};

}  // namespace coppice::engine
