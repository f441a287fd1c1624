// From units to items, page lists and the CSR of partials; and the update of a plan whose sequences moved on.
#include <algorithm>

#include "base/check.h"
#include "kernels/kv_slot.h"
#include "kernels/kv_split.h"
#include "kernels/plan_builder.h"
#include "kernels/visible_keys.h"

namespace coppice::kernels {

void PlanBuilder::emit_items() {
  plan_.items.clear();
  plan_.pages.clear();
  plan_.slots.clear();
  segments_.clear();
  plan_.shared_items = 0;
  plan_.depth = 0;
  next_slot_ = plan_.row_count;
  states_used_ = false;
  for (const std::int32_t index : order_) {
    emit_unit(units_[static_cast<std::size_t>(index)]);
  }
  for (const Ended& ended : ended_) {
    std::int32_t parent = ended.parent;
    while (parent >= 0 && units_[static_cast<std::size_t>(parent)].item < 0) {
      parent = units_[static_cast<std::size_t>(parent)].parent;
    }
    COPPICE_CHECK(parent >= 0, "a row without keys");
    if (!units_[static_cast<std::size_t>(parent)].broken_after) {
      segments_.push_back({ended.row_begin, ended.row_count, ended.row_begin, 0});
    }
  }
}

void PlanBuilder::emit_unit(Unit& unit) {
  while (unit.parent >= 0 && units_[static_cast<std::size_t>(unit.parent)].item < 0) {
    unit.parent = units_[static_cast<std::size_t>(unit.parent)].parent;  // its parent has no keys left in the window
  }
  if (unit.key_begin >= unit.key_end) {
    return;
  }
  const Unit* parent = unit.parent < 0 ? nullptr : &units_[static_cast<std::size_t>(unit.parent)];
  unit.broken = parent != nullptr && (parent->broken_after || !options_.chaining);
  unit.broken_after = unit.broken || unit.pieces > 1;
  unit.depth = (parent == nullptr ? 0 : parent->depth) + unit.pieces;
  unit.item = static_cast<std::int32_t>(plan_.items.size());
  plan_.depth = std::max(plan_.depth, unit.depth);
  const bool breaks_here = unit.broken ? !parent->broken_after : unit.pieces > 1;
  if (breaks_here) {
    segments_.push_back({unit.row_begin, unit.row_count, unit.row_begin, 0});
  }
  const std::int32_t first_split = kv_split_index(unit.key_begin);
  const std::int32_t splits = kv_split_index(unit.key_end - 1) - first_split + 1;
  for (std::int32_t piece = 0; piece < unit.pieces; ++piece) {
    const std::int32_t begin = kv_split_position(first_split + splits * piece / unit.pieces);
    const std::int32_t end = kv_split_position(first_split + splits * (piece + 1) / unit.pieces);
    emit_piece(unit, piece, begin, std::min(end, unit.key_end));
  }
}

void PlanBuilder::emit_piece(const Unit& unit, std::int32_t piece, std::int32_t key_begin, std::int32_t key_end) {
  AttentionItem item;
  item.row_begin = unit.row_begin;
  item.row_count = unit.row_count;
  item.key_begin = key_begin;
  item.key_end = key_end;
  item.folds = piece == 0 && !unit.broken;
  if (item.folds) {
    item.after = unit.parent < 0 ? -1 : units_[static_cast<std::size_t>(unit.parent)].item;
    item.writes_output = unit.last && unit.pieces == 1;
    if (item.after >= 0 || !item.writes_output) {
      item.partial_begin = unit.row_begin;
      states_used_ = true;
    }
  } else {
    const std::int32_t splits = kv_split_index(key_end - 1) - kv_split_index(key_begin) + 1;
    item.partial_begin = next_slot_;
    segments_.push_back({unit.row_begin, unit.row_count, next_slot_, splits});
    next_slot_ += splits * unit.row_count;
  }
  if (unit.kind == UnitKind::kPath) {
    emit_path_slots(unit, item);
  } else {
    emit_pages(unit, item);
  }
  plan_.shared_items += unit.kind == UnitKind::kShared ? 1 : 0;
  plan_.items.push_back(item);
}

void PlanBuilder::emit_pages(const Unit& unit, AttentionItem& item) {
  const PlanSequence& source = sequences_[static_cast<std::size_t>(unit.sequence_begin)];
  const std::int32_t first = item.key_begin / plan_.page_size;
  const std::int32_t count = (item.key_end - 1) / plan_.page_size + 1 - first;
  item.page_begin = static_cast<std::int32_t>(plan_.pages.size());
  const auto pages = source.pages.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
  plan_.pages.insert(plan_.pages.end(), pages.begin(), pages.end());
  if (source.identity != 0 && source.row_count == 1) {  // room to grow to the end of the split
    const std::int32_t room = kv_split_end(item.key_end - 1) / plan_.page_size - first;
    plan_.pages.resize(static_cast<std::size_t>(item.page_begin + room), kNoPage);
  }
}

// Committed keys of the split through the page table, then the node's ancestors from the root down, then itself.
void PlanBuilder::emit_path_slots(const Unit& unit, AttentionItem& item) {
  const PlanSequence& source = sequences_[static_cast<std::size_t>(unit.sequence_begin)];
  const std::int32_t draft_position = shapes_[static_cast<std::size_t>(unit.sequence_begin)].draft_position;
  const auto slot_of = [&](std::int32_t position) { return kv_slot(source.pages, plan_.page_size, position); };
  const auto begin = plan_.slots.size();
  item.slot_begin = static_cast<std::int32_t>(begin);
  plan_.slots.resize(begin + static_cast<std::size_t>(item.key_end - item.key_begin));
  const std::span<KvSlot> slots = std::span(plan_.slots).subspan(begin);
  for (std::int32_t key = item.key_begin; key < std::min(draft_position, item.key_end); ++key) {
    slots[static_cast<std::size_t>(key - item.key_begin)] = slot_of(key);
  }
  std::int32_t node = unit.draft;
  for (std::int32_t key = item.key_end - 1; key >= std::max(draft_position, item.key_begin); --key) {
    slots[static_cast<std::size_t>(key - item.key_begin)] = slot_of(draft_position + node);
    node = source.draft_parents[static_cast<std::size_t>(node)];
  }
}

void PlanBuilder::fill_partials() {
  plan_.partial_count = states_used_ ? next_slot_ : 0;
  plan_.row_partial_begin.assign(static_cast<std::size_t>(plan_.row_count) + 1, 0);
  plan_.row_partials.clear();
  if (segments_.empty()) {
    return;
  }
  std::int32_t* begin = plan_.row_partial_begin.data() + 1;
  for (const Segment& segment : segments_) {
    for (std::int32_t i = 0; i < segment.row_count; ++i) {
      begin[segment.row_begin + i] += std::max(segment.splits, 1);
    }
  }
  for (std::int32_t row = 1; row < plan_.row_count; ++row) {
    begin[row] += begin[row - 1];
  }
  plan_.row_partials.resize(static_cast<std::size_t>(plan_.row_partial_begin.back()));
  // Filled from each row's beginning; the cursor is the row's entry in row_partial_begin, put back at the end.
  std::int32_t* cursor = plan_.row_partial_begin.data();
  for (const Segment& segment : segments_) {
    for (std::int32_t i = 0; i < segment.row_count; ++i) {
      for (std::int32_t split = 0; split < std::max(segment.splits, 1); ++split) {
        plan_.row_partials[static_cast<std::size_t>(cursor[segment.row_begin + i]++)] =
            segment.slot_begin + split * segment.row_count + i;
      }
    }
  }
  for (std::int32_t row = plan_.row_count - 1; row > 0; --row) {
    cursor[row] = cursor[row - 1];
  }
  cursor[0] = 0;
}

void PlanBuilder::count_keys() {
  plan_.keys_attended = 0;
  for (const std::int32_t position : plan_.row_positions) {
    plan_.keys_attended += visible_end(position) - std::max(0, visible_begin(position, plan_.window));
  }
  plan_.keys_read = 0;
  for (const AttentionItem& item : plan_.items) {
    plan_.keys_read += item.key_end - item.key_begin;
  }
}

void PlanBuilder::remember_tails() {
  tails_.clear();
  for (const PlanSequence& sequence : sequences_) {
    tails_.push_back({sequence.row_count == 1 ? sequence.identity : 0, sequence.row_begin, sequence.position_begin});
  }
  for (const Unit& unit : units_) {
    if (unit.kind != UnitKind::kLeaf || unit.item < 0) {
      continue;
    }
    Tail& tail = tails_[static_cast<std::size_t>(unit.sequence_begin)];
    if (tail.identity != 0) {
      tail.item = unit.item + unit.pieces - 1;
      const AttentionItem& item = plan_.items[static_cast<std::size_t>(tail.item)];
      tail.page_room = (kv_split_end(item.key_end - 1) - item.key_begin) / plan_.page_size;
    }
  }
  pages_built_ = plan_.pages.size();
}

bool PlanBuilder::update(std::span<const PlanSequence> sequences, const PlanOptions& options) {
  if (sequences.empty() || sequences.size() != tails_.size() || !(options == options_)) {
    return false;
  }
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const PlanSequence& sequence = sequences[i];
    Tail& tail = tails_[i];
    if (tail.identity == 0 || sequence.identity != tail.identity || sequence.row_begin != tail.row_begin ||
        sequence.row_count != 1 || sequence.position_begin < tail.position || tail.item < 0) {
      return false;
    }
    if (sequence.position_begin > tail.position && !move_tail(sequence, tail)) {
      return false;
    }
  }
  return true;
}

// Lets the last item of a sequence reach to its new position.
bool PlanBuilder::move_tail(const PlanSequence& sequence, Tail& tail) {
  AttentionItem& item = plan_.items[static_cast<std::size_t>(tail.item)];
  const std::int32_t position = sequence.position_begin;
  if (visible_begin(position, plan_.window) > 0) {
    return false;  // the window's lower end moves too
  }
  if (position >= kv_split_end(tail.position) && !cross_split(item, position)) {
    return false;
  }
  const std::int32_t page_size = plan_.page_size;
  const std::int32_t first = item.key_begin / page_size;
  const std::int32_t page_count = position / page_size + 1 - first;
  std::int32_t known = tail.position / page_size + 1 - first;
  if (page_count > tail.page_room) {  // a new list at the end; the old one lies idle until the next build
    const std::int32_t room = kv_split_end(position) / page_size - first;
    const std::size_t begin = plan_.pages.size();
    if (begin + static_cast<std::size_t>(room) > 2 * pages_built_ + kSparePages) {
      return false;
    }
    plan_.pages.resize(begin + static_cast<std::size_t>(room), kNoPage);
    std::copy_n(plan_.pages.begin() + item.page_begin, known, plan_.pages.begin() + static_cast<std::int64_t>(begin));
    item.page_begin = static_cast<std::int32_t>(begin);
    tail.page_room = room;
  }
  for (; known < page_count; ++known) {
    plan_.pages[static_cast<std::size_t>(item.page_begin + known)] =
        sequence.pages[static_cast<std::size_t>(first + known)];
  }
  const std::int32_t moved = position - tail.position;
  item.key_end = position + 1;
  plan_.row_positions[static_cast<std::size_t>(tail.row_begin)] = position;
  plan_.keys_attended += moved;
  plan_.keys_read += moved;
  tail.position = position;
  return true;
}

// May an item enter a new split without any other change of the plan? Only if a plan from scratch would be the same.
// (Sharing cannot grow: where it ended with the end of a sequence, that sequence has no item of its own to move.)
bool PlanBuilder::cross_split(const AttentionItem& item, std::int32_t position) {
  if (!item.folds) {
    return false;
  }
  if (units_per_head() <= 1) {
    return true;
  }
  const std::int64_t limit = limit_for(total_cost_);
  const std::int64_t cost = cost_of(item.key_begin, position + 1, 1);
  total_cost_ += cost - cost_of(item.key_begin, item.key_end, 1);
  return limit_for(total_cost_) == limit && cost <= limit;
}

}  // namespace coppice::kernels
