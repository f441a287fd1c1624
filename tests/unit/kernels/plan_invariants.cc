// Acts a plan out on sets of keys instead of numbers.
#include "tests/unit/kernels/plan_invariants.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/key_positions.h"

namespace coppice::kernels {
namespace {

// What a partial slot holds: the keys [begin, end) of a row, by whom it was last written.
struct Slot {
  std::int32_t row = -1;
  std::int32_t begin = 0;
  std::int32_t end = 0;
  std::int32_t writer = -1;
};

struct RowFacts {
  std::vector<KvSlot> slots;  // by position
  std::int32_t first = 0;     // first key in the window
  std::int32_t end = 0;       // one past the last
  std::int32_t sequence = 0;
  std::int32_t items = 0;  // that cover it
  std::int32_t written_by = -1;
};

class Actor {
 public:
  Actor(const TestStep& step, const PlanOptions& options, const AttentionPlan& plan)
      : options_(options), plan_(plan), slots_(static_cast<std::size_t>(std::max(plan.partial_count, 0))) {
    for (std::size_t i = 0; i < step.sequences.size(); ++i) {
      for (std::int32_t j = 0; j < step.sequences[i].row_count; ++j) {
        RowFacts row;
        row.slots = step.row_slots(i, j);
        row.end = static_cast<std::int32_t>(row.slots.size());
        row.first = options.window > 0 ? std::max(0, row.end - options.window) : 0;
        row.sequence = static_cast<std::int32_t>(i);
        rows_.push_back(std::move(row));
      }
    }
  }

  std::string act() {
    if (plan_.row_count != static_cast<std::int32_t>(rows_.size()) || plan_.page_size != options_.page_size ||
        plan_.window != options_.window) {
      return "the plan's sizes are wrong";
    }
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      if (plan_.row_positions[row] != rows_[row].end - 1) {
        return "row " + std::to_string(row) + " stands at the wrong position";
      }
    }
    for (std::size_t i = 0; i < plan_.items.size(); ++i) {
      const std::string fault = act_item(static_cast<std::int32_t>(i));
      if (!fault.empty()) {
        return "item " + std::to_string(i) + ": " + fault;
      }
    }
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      const std::string fault = end_row(static_cast<std::int32_t>(row));
      if (!fault.empty()) {
        return "row " + std::to_string(row) + ": " + fault;
      }
    }
    return check_metrics();
  }

 private:
  std::string act_item(std::int32_t index) {
    const AttentionItem& item = plan_.items[static_cast<std::size_t>(index)];
    if (item.row_begin < 0 || item.row_count <= 0 || item.row_begin + item.row_count > plan_.row_count ||
        item.key_begin >= item.key_end || kv_split_begin(item.key_begin) != item.key_begin) {
      return "rows or keys out of place";
    }
    if (item.after >= index || (!item.folds && (item.after >= 0 || item.writes_output))) {
      return "runs after a later item, or continues without folding";
    }
    if ((item.partial_begin < 0) != (item.folds && item.writes_output && item.after < 0)) {
      return "partial slots missing or useless";
    }
    for (std::int32_t i = 0; i < item.row_count; ++i) {
      RowFacts& row = rows_[static_cast<std::size_t>(item.row_begin + i)];
      ++row.items;
      const std::string fault = item.folds ? fold(index, i) : leave_partials(index, i);
      if (!fault.empty()) {
        return fault;
      }
      const std::string wrong_key = check_keys(item, row);
      if (!wrong_key.empty()) {
        return wrong_key;
      }
    }
    return "";
  }

  // The keys of the item that the row sees lie in the slots that the row's own table says.
  std::string check_keys(const AttentionItem& item, const RowFacts& row) const {
    if (item.key_end < row.end && kv_split_begin(item.key_end) != item.key_end) {
      return "a split is cut short";
    }
    const std::int32_t stride = 16;
    for (std::int32_t key = std::max(item.key_begin, row.first); key < std::min(item.key_end, row.end);
         key = key + 1 == std::min(item.key_end, row.end)
                   ? key + 1
                   : std::min(key + stride, std::min(item.key_end, row.end) - 1)) {
      const std::int32_t offset = key - item.key_begin;
      const KvSlot slot =
          item.slot_begin >= 0
              ? plan_.slots[static_cast<std::size_t>(item.slot_begin + offset)]
              : plan_.pages[static_cast<std::size_t>(item.page_begin + offset / plan_.page_size)] * plan_.page_size +
                    offset % plan_.page_size;
      if (slot != row.slots[static_cast<std::size_t>(key)]) {
        return "key " + std::to_string(key) + " in the wrong slot";
      }
    }
    return "";
  }

  std::string fold(std::int32_t index, std::int32_t i) {
    const AttentionItem& item = plan_.items[static_cast<std::size_t>(index)];
    const std::int32_t row_index = item.row_begin + i;
    RowFacts& row = rows_[static_cast<std::size_t>(row_index)];
    std::int32_t begin = row.first;
    std::int32_t end = row.first;
    if (item.after >= 0) {
      const AttentionItem& before = plan_.items[static_cast<std::size_t>(item.after)];
      const Slot& slot = slots_[static_cast<std::size_t>(item.partial_begin + i)];
      if (!before.folds || before.writes_output || slot.writer != item.after || slot.row != row_index) {
        return "continues a state that is not there";
      }
      begin = slot.begin;
      end = slot.end;
    }
    const std::int32_t from = std::clamp(item.key_begin, row.first, row.end);
    const std::int32_t to = std::clamp(item.key_end, row.first, row.end);
    if (from != end) {
      return "does not begin where its row's state ends";
    }
    end = to;
    if (item.partial_begin >= 0) {
      Slot& slot = slots_[static_cast<std::size_t>(item.partial_begin + i)];
      if (slot.writer >= 0 && slot.writer != item.after) {
        return "overwrites a slot";
      }
      slot = {row_index, begin, end, index};
    }
    if (item.writes_output) {
      if (row.written_by >= 0 || begin != row.first || end != row.end) {
        return "writes an output that is not whole";
      }
      row.written_by = index;
    }
    return "";
  }

  std::string leave_partials(std::int32_t index, std::int32_t i) {
    const AttentionItem& item = plan_.items[static_cast<std::size_t>(index)];
    const RowFacts& row = rows_[static_cast<std::size_t>(item.row_begin + i)];
    std::int32_t split = 0;
    for (std::int32_t key = item.key_begin; key < item.key_end; key = kv_split_end(key), ++split) {
      Slot& slot = slots_.at(static_cast<std::size_t>(item.partial_begin + split * item.row_count + i));
      if (slot.writer >= 0) {
        return "overwrites a slot";
      }
      slot = {item.row_begin + i, std::clamp(key, row.first, row.end),
              std::clamp(std::min(kv_split_end(key), item.key_end), row.first, row.end), index};
    }
    return "";
  }

  std::string end_row(std::int32_t row_index) const {
    const RowFacts& row = rows_[static_cast<std::size_t>(row_index)];
    const std::int32_t begin = plan_.row_partial_begin[static_cast<std::size_t>(row_index)];
    const std::int32_t end = plan_.row_partial_begin[static_cast<std::size_t>(row_index) + 1];
    if (begin == end) {
      return row.written_by >= 0 ? "" : "no item writes its output";
    }
    if (row.written_by >= 0) {
      return "written by an item and merged too";
    }
    std::int32_t reached = row.first;
    for (std::int32_t i = begin; i < end; ++i) {
      const Slot& slot = slots_.at(static_cast<std::size_t>(plan_.row_partials[static_cast<std::size_t>(i)]));
      if (slot.row != row_index || (slot.begin != reached && slot.begin != slot.end)) {
        return "its partials are not in order";
      }
      // Behind the first, a partial is one split.
      if (i > begin && slot.begin < slot.end && kv_split_index(slot.begin) != kv_split_index(slot.end - 1)) {
        return "a partial of several splits is merged";
      }
      reached = std::max(reached, slot.end);
    }
    return reached == row.end ? "" : "its partials are not all its keys";
  }

  std::string check_metrics() const {
    std::int64_t attended = 0;
    std::int32_t depth = 0;
    for (const RowFacts& row : rows_) {
      attended += row.end - row.first;
      depth = std::max(depth, row.items);
    }
    std::int64_t read = 0;
    std::int32_t shared = 0;
    for (const AttentionItem& item : plan_.items) {
      read += item.key_end - item.key_begin;
      shared += rows_[static_cast<std::size_t>(item.row_begin)].sequence !=
                        rows_[static_cast<std::size_t>(item.row_begin + item.row_count - 1)].sequence
                    ? 1
                    : 0;
    }
    if (attended != plan_.keys_attended || read != plan_.keys_read || shared != plan_.shared_items ||
        depth != plan_.depth) {
      return "metrics: attended " + std::to_string(attended) + "/" + std::to_string(plan_.keys_attended) + " read " +
             std::to_string(read) + "/" + std::to_string(plan_.keys_read) + " shared " + std::to_string(shared) + "/" +
             std::to_string(plan_.shared_items) + " depth " + std::to_string(depth) + "/" + std::to_string(plan_.depth);
    }
    return "";
  }

  const PlanOptions& options_;
  const AttentionPlan& plan_;
  std::vector<Slot> slots_;
  std::vector<RowFacts> rows_;
};

}  // namespace

std::string find_fault(const TestStep& step, const PlanOptions& options, const AttentionPlan& plan) {
  return Actor(step, options, plan).act();
}

std::int64_t keys_read_when_shared(const TestStep& step) {
  std::int64_t keys = 0;
  for (std::size_t i = 0; i < step.sequences.size(); ++i) {
    const TestSequence& sequence = step.sequences[i];
    const std::int32_t end = sequence.position_begin + sequence.row_count;
    std::int32_t common_pages = 0;
    std::int32_t before_end = 0;
    if (i > 0) {
      const TestSequence& before = step.sequences[i - 1];
      before_end = before.position_begin + before.row_count;
      while (static_cast<std::size_t>(common_pages) < std::min(before.pages.size(), sequence.pages.size()) &&
             before.pages[static_cast<std::size_t>(common_pages)] ==
                 sequence.pages[static_cast<std::size_t>(common_pages)]) {
        ++common_pages;
      }
    }
    for (std::int32_t key = 0; key < end; key = kv_split_end(key)) {
      const bool shared = kv_split_end(key) <= common_pages * step.page_size && key < before_end;
      keys += shared ? 0 : std::min(kv_split_end(key), end) - key;
    }
  }
  return keys;
}

}  // namespace coppice::kernels
