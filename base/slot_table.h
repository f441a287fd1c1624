// SlotTable: objects named by small reused integers. Addresses stay the same while an object lives, so references may
// be kept across insertions; the freed slot with the lowest cost (the last one freed) is reused first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "base/check.h"
#include "base/release.h"

namespace coppice::base {

// Owner and thread: one, the same.
template <typename T>
class SlotTable {
 public:
  // A fresh T; its slot is the answer.
  std::int32_t take() {
    if (free_.empty()) {
      free_.push_back(static_cast<std::int32_t>(entries_.size()));
      entries_.emplace_back();
    }
    const std::int32_t slot = free_.back();
    free_.pop_back();
    entries_[static_cast<std::size_t>(slot)].live = true;
    ++live_;
    return slot;
  }

  // Destroys the object. REQUIRES: it lives.
  void release(std::int32_t slot) {
    COPPICE_CHECK(is_live(slot), "slot released twice");
    Entry& entry = entries_[static_cast<std::size_t>(slot)];
    entry.live = false;
    entry.value = T();
    free_.push_back(slot);
    --live_;
  }

  // Frees the memory of the most objects that ever lived at once. REQUIRES: none lives.
  void shrink() {
    COPPICE_CHECK(live_ == 0, "a table in use shrinks");
    base::release(entries_);
    base::release(free_);
  }

  bool is_live(std::int32_t slot) const {
    return slot >= 0 && static_cast<std::size_t>(slot) < entries_.size() &&
           entries_[static_cast<std::size_t>(slot)].live;
  }
  T& operator[](std::int32_t slot) { return entries_[static_cast<std::size_t>(slot)].value; }
  const T& operator[](std::int32_t slot) const { return entries_[static_cast<std::size_t>(slot)].value; }
  // Number of living objects, and one past the largest slot ever used.
  std::int32_t live() const { return live_; }
  std::int32_t slots() const { return static_cast<std::int32_t>(entries_.size()); }

 private:
  struct Entry {
    T value;
    bool live = false;
  };
  std::deque<Entry> entries_;
  std::vector<std::int32_t> free_;
  std::int32_t live_ = 0;
};

}  // namespace coppice::base
