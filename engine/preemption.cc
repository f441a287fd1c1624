// Choosing which sequence gives up its pages.
#include "engine/preemption.h"

#include <algorithm>

#include "base/check.h"

namespace coppice::engine {

bool Preemption::allowed() {
  needed_ = needed_ || ahead_;
  return !ahead_;
}

void Preemption::preempt(Sequence& sequence) {
  COPPICE_CHECK(!sequence.in_step(), "a sequence of this step keeps its pages");
  COPPICE_CHECK(!ahead_, "no sequence is preempted while a step runs");
  pages_.drop(sequence);
  lines_.stop(sequence);
  ++count_;
}

void Preemption::drop_holder(Sequence& sequence) {
  lines_.forget_holder(sequence.slot);
  pages_.drop(sequence);
}

Preemption::Room Preemption::make_room(std::int32_t pages, const Sequence& claimant) {
  while (pages_.pool().free_pages() < pages) {
    if (pages_.evict(pages - pages_.pool().free_pages()) > 0) {
      continue;
    }
    if (!allowed()) {
      return Room::kLater;
    }
    Sequence* victim = nullptr;
    bool others_hold = false;
    bool behind_in_step = false;
    const auto consider = [&](SequenceSlot slot) {
      Sequence& holder = sequences_[slot];
      if (slot == claimant.slot) {
        return;
      }
      others_hold = true;
      if (claimant.line.rank() < holder.line.rank()) {
        if (holder.in_step()) {
          behind_in_step = true;
        } else if (victim == nullptr || victim->line.rank() < holder.line.rank()) {
          victim = &holder;
        }
      }
    };
    for (const SequenceKey& key : lines_.running()) {
      consider(key.slot);
    }
    for (const SequenceSlot slot : lines_.holders()) {
      consider(slot);
    }
    if (victim == nullptr) {
      return behind_in_step ? Room::kLater : others_hold ? Room::kYield : Room::kNever;
    }
    if (victim->line.is_running()) {
      preempt(*victim);
    } else {
      drop_holder(*victim);
    }
  }
  return Room::kMade;
}

bool Preemption::take_from_holders(std::int32_t pages, const Sequence& claimant) {
  while (pages_.available() < pages) {
    const std::vector<SequenceSlot>& holders = lines_.holders();
    const auto last = std::max_element(holders.begin(), holders.end(), [this](SequenceSlot a, SequenceSlot b) {
      return sequences_[a].line.rank() < sequences_[b].line.rank();
    });
    if (last == holders.end() || !(claimant.line.rank() < sequences_[*last].line.rank())) {
      return false;
    }
    drop_holder(sequences_[*last]);
  }
  return true;
}

}  // namespace coppice::engine
