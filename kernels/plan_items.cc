// Items, page lists and partial slots of a plan.
#include "kernels/plan_items.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/key_positions.h"

namespace coppice::kernels {
namespace {

std::int32_t split_count(std::int32_t key_begin, std::int32_t key_end) {
  return kv_split_index(key_end - 1) - kv_split_index(key_begin) + 1;
}

void count_keys(AttentionPlan& plan) {
  plan.keys_attended = 0;
  for (const std::int32_t position : plan.row_positions) {
    plan.keys_attended += visible_end(position) - std::max(0, visible_begin(position, plan.window));
  }
  plan.keys_read = 0;
  for (const AttentionItem& item : plan.items) {
    plan.keys_read += item.key_end - item.key_begin;
  }
}

// Whether the states of a unit's rows were left to the merge before it: a unit above was cut.
bool is_behind_cut(const PlanUnit& unit, std::span<const PlanUnit> units) {
  for (std::int32_t above = unit.parent; above >= 0; above = units[static_cast<std::size_t>(above)].parent) {
    if (units[static_cast<std::size_t>(above)].pieces > 1) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::int64_t partials_needed(std::int32_t row_count, std::span<const PlanUnit> units) {
  std::int64_t needed = row_count;
  for (const PlanUnit& unit : units) {
    if (unit.key_begin < unit.key_end) {
      const std::int32_t splits = split_count(unit.key_begin, unit.key_end);
      const std::int32_t folded = is_behind_cut(unit, units) ? 0 : splits / unit.pieces;  // by the first piece
      needed += std::int64_t{unit.row_count} * (splits - folded);
    }
  }
  return needed;
}

void PartialSlots::clear(std::int32_t row_count) {
  row_count_ = row_count;
  next_ = row_count;
  segments_.clear();
}

void PartialSlots::add_states(std::int32_t row_begin, std::int32_t row_count) {
  segments_.push_back({row_begin, row_count, row_begin, 1});
}

std::int32_t PartialSlots::add_splits(std::int32_t row_begin, std::int32_t row_count, std::int32_t splits) {
  const std::int32_t first = next_;
  segments_.push_back({row_begin, row_count, first, splits});
  next_ += splits * row_count;
  return first;
}

void PartialSlots::list(std::vector<std::int32_t>& row_begin, std::vector<std::int32_t>& slots) const {
  slots.clear();
  row_begin.assign(static_cast<std::size_t>(row_count_) + 1, 0);
  if (segments_.empty()) {
    return;
  }
  // While rows are filled, row_begin[row + 1] is where the row's next slot goes; in the end that is the row's end.
  row_begin.push_back(0);
  for (const Segment& segment : segments_) {
    for (std::int32_t i = 0; i < segment.row_count; ++i) {
      row_begin[static_cast<std::size_t>(segment.row_begin + i) + 2] += segment.splits;
    }
  }
  for (std::size_t row = 2; row < row_begin.size(); ++row) {
    row_begin[row] += row_begin[row - 1];
  }
  slots.resize(static_cast<std::size_t>(row_begin.back()));
  std::int32_t* next = row_begin.data() + 1;
  for (const Segment& segment : segments_) {
    for (std::int32_t i = 0; i < segment.row_count; ++i) {
      for (std::int32_t split = 0; split < segment.splits; ++split) {
        slots[static_cast<std::size_t>(next[segment.row_begin + i]++)] =
            segment.slot_begin + split * segment.row_count + i;
      }
    }
  }
  row_begin.pop_back();
}

void ItemWriter::write(const PlanInput& input, const PlanTree& tree, std::span<const std::int32_t> order,
                       AttentionPlan& plan) {
  input_ = &input;
  units_ = tree.units();
  plan_ = &plan;
  plan.row_count = static_cast<std::int32_t>(plan.row_positions.size());
  plan.page_size = input.options.page_size;
  plan.window = input.options.window;
  plan.items.clear();
  plan.pages.clear();
  plan.slots.clear();
  plan.shared_items = 0;
  plan.depth = 0;
  written_.assign(units_.size(), Written{});
  partials_.clear(plan.row_count);
  uses_states_ = false;
  for (const std::int32_t index : order) {
    write_unit(index);
  }
  end_rows(tree.ended());
  plan.partial_count = uses_states_ ? partials_.count() : 0;
  partials_.list(plan.row_partial_begin, plan.row_partials);
  count_keys(plan);
  input_ = nullptr;
  units_ = {};
  plan_ = nullptr;
}

// The unit itself or, where it has no keys left in the window, the nearest one above that has; -1: none.
std::int32_t ItemWriter::ancestor_with_items(std::int32_t unit) const {
  while (unit >= 0 && written_[static_cast<std::size_t>(unit)].item < 0) {
    unit = units_[static_cast<std::size_t>(unit)].parent;
  }
  return unit;
}

void ItemWriter::write_unit(std::int32_t index) {
  const PlanUnit& unit = units_[static_cast<std::size_t>(index)];
  if (unit.key_begin >= unit.key_end) {
    return;
  }
  const std::int32_t parent_index = ancestor_with_items(unit.parent);
  const bool has_parent = parent_index >= 0;
  const Written none;
  const Written& parent = has_parent ? written_[static_cast<std::size_t>(parent_index)] : none;
  Written& written = written_[static_cast<std::size_t>(index)];
  written.item = static_cast<std::int32_t>(plan_->items.size());
  written.depth = parent.depth + unit.pieces;
  written.broken = has_parent && (parent.broken_after || !input_->options.chaining);
  written.broken_after = written.broken || unit.pieces > 1;
  plan_->depth = std::max(plan_->depth, written.depth);
  if (written.broken_after && !parent.broken_after) {
    // The chain of states ends here: the state so far, this unit's own first piece included, is a term of the merge.
    partials_.add_states(unit.row_begin, unit.row_count);
  }
  const std::int32_t first_split = kv_split_index(unit.key_begin);
  const std::int32_t splits = split_count(unit.key_begin, unit.key_end);
  for (std::int32_t piece = 0; piece < unit.pieces; ++piece) {
    AttentionItem& item = plan_->items.emplace_back();
    item.row_begin = unit.row_begin;
    item.row_count = unit.row_count;
    item.key_begin = kv_split_position(first_split + splits * piece / unit.pieces);
    item.key_end = std::min(kv_split_position(first_split + splits * (piece + 1) / unit.pieces), unit.key_end);
    item.folds = piece == 0 && !written.broken;
    write_piece(unit, written, parent.item, item);
  }
}

// Fills in where the item's results and keys are. after: the parent's item, -1: none.
void ItemWriter::write_piece(const PlanUnit& unit, const Written& written, std::int32_t after, AttentionItem& item) {
  if (item.folds) {
    item.after = after;
    item.writes_output = unit.last && !written.broken_after;
    if (item.after >= 0 || !item.writes_output) {
      item.partial_begin = unit.row_begin;
      uses_states_ = true;
    }
  } else {
    item.partial_begin =
        partials_.add_splits(unit.row_begin, unit.row_count, split_count(item.key_begin, item.key_end));
  }
  if (unit.kind == UnitKind::kPath) {
    write_path_slots(unit, item);
  } else {
    write_pages(unit, item);
  }
  plan_->shared_items += unit.kind == UnitKind::kShared ? 1 : 0;
}

void ItemWriter::write_pages(const PlanUnit& unit, AttentionItem& item) {
  const PlanSequence& source = input_->sequences[static_cast<std::size_t>(unit.sequence_begin)];
  const std::int32_t page_size = plan_->page_size;
  const std::int32_t first = item.key_begin / page_size;
  const std::int32_t count = (item.key_end - 1) / page_size + 1 - first;
  item.page_begin = static_cast<std::int32_t>(plan_->pages.size());
  const auto pages = source.pages.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
  plan_->pages.insert(plan_->pages.end(), pages.begin(), pages.end());
  if (source.identity != 0 && source.row_count == 1) {  // room to grow to the end of the split
    const std::int32_t room = kv_split_end(item.key_end - 1) / page_size - first;
    plan_->pages.resize(static_cast<std::size_t>(item.page_begin + room), kNoPage);
  }
}

// Committed keys of the split through the page table, then the node's ancestors from the root down, then itself.
void ItemWriter::write_path_slots(const PlanUnit& unit, AttentionItem& item) {
  const PlanSequence& source = input_->sequences[static_cast<std::size_t>(unit.sequence_begin)];
  const std::int32_t draft_position = input_->shapes[static_cast<std::size_t>(unit.sequence_begin)].draft_position;
  const auto slot_of = [&](std::int32_t position) { return kv_slot(source.pages, plan_->page_size, position); };
  const auto begin = plan_->slots.size();
  item.slot_begin = static_cast<std::int32_t>(begin);
  plan_->slots.resize(begin + static_cast<std::size_t>(item.key_end - item.key_begin));
  const std::span<KvSlot> slots = std::span(plan_->slots).subspan(begin);
  for (std::int32_t key = item.key_begin; key < std::min(draft_position, item.key_end); ++key) {
    slots[static_cast<std::size_t>(key - item.key_begin)] = slot_of(key);
  }
  std::int32_t node = unit.draft;
  for (std::int32_t key = item.key_end - 1; key >= std::max(draft_position, item.key_begin); --key) {
    slots[static_cast<std::size_t>(key - item.key_begin)] = slot_of(draft_position + node);
    node = source.draft_parents[static_cast<std::size_t>(node)];
  }
}

// Rows that end inside a chain of states have their state as the only term of their merge.
void ItemWriter::end_rows(std::span<const EndedRows> ended) {
  for (const EndedRows& rows : ended) {
    const std::int32_t parent = ancestor_with_items(rows.parent);
    COPPICE_CHECK(parent >= 0, "a row without keys");
    if (!written_[static_cast<std::size_t>(parent)].broken_after) {
      partials_.add_states(rows.row_begin, rows.row_count);
    }
  }
}

}  // namespace coppice::kernels
