// The planner's last part: units become items with their page lists, and partial slots are numbered.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/plan_tree.h"

namespace coppice::kernels {

// Returns the slots that PartialSlots numbers for these units of a step of `row_count` rows if the states of rows are
// used: one for the state of each row, and one for each row and split of the items that do not fold. REQUIRES: items
// may be chained.
std::int64_t partials_needed(std::int32_t row_count, std::span<const PlanUnit> units);

// Numbers the partial slots of a plan and lists those of each row in ascending key position. The state of a row that
// items continue is in the slot of the row's own number; slots for single splits follow behind all rows.
class PartialSlots {
 public:
  void clear(std::int32_t row_count);
  // The rows' states are terms of their merge. REQUIRES: for each row, terms are added in ascending key position.
  void add_states(std::int32_t row_begin, std::int32_t row_count);
  // Takes one slot a row and split. Returns the first: split s of row i has slot first + s * row_count + i.
  std::int32_t add_splits(std::int32_t row_begin, std::int32_t row_count, std::int32_t splits);
  // Writes the CSR of AttentionPlan: [rows + 1] offsets, then each row's slots.
  void list(std::vector<std::int32_t>& row_begin, std::vector<std::int32_t>& slots) const;
  // Slots in use if states are.
  std::int32_t count() const { return next_; }

 private:
  // `splits` terms for each of these rows.
  struct Segment {
    std::int32_t row_begin = 0;
    std::int32_t row_count = 0;
    std::int32_t slot_begin = 0;
    std::int32_t splits = 1;
  };

  std::int32_t row_count_ = 0;
  std::int32_t next_ = 0;
  std::vector<Segment> segments_;
};

// Writes a plan from its units. Keeps its arrays between steps.
class ItemWriter {
 public:
  // Fills all of `plan` except the row positions, which it reads. `order`: parents before their children.
  void write(const PlanInput& input, const PlanTree& tree, std::span<const std::int32_t> order, AttentionPlan& plan);
  // The first item of a unit of the last plan; -1: it has no keys, so no item.
  std::int32_t first_item(std::size_t unit) const { return written_[unit].item; }

 private:
  // What became of a unit.
  struct Written {
    std::int32_t item = -1;     // its first item
    std::int32_t depth = 0;     // items that cover its rows, down to and with this unit
    bool broken = false;        // it does not continue its parent's states
    bool broken_after = false;  // its children cannot continue its own
  };

  std::int32_t ancestor_with_items(std::int32_t unit) const;
  void write_unit(std::int32_t index);
  void write_piece(const PlanUnit& unit, const Written& written, std::int32_t after, AttentionItem& item);
  void write_pages(const PlanUnit& unit, AttentionItem& item);
  void write_path_slots(const PlanUnit& unit, AttentionItem& item);
  void end_rows(std::span<const EndedRows> ended);

  const PlanInput* input_ = nullptr;  // during write(), as the next two
  std::span<const PlanUnit> units_;
  AttentionPlan* plan_ = nullptr;
  std::vector<Written> written_;  // [units]
  PartialSlots partials_;
  bool uses_states_ = false;  // some item leaves or continues states
};

}  // namespace coppice::kernels
