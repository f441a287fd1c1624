// Reading an attention plan item by item; see the header.
#include "tests/support/attention_check.h"

#include <algorithm>

#include "base/check.h"
#include "engine/step_plan.h"

namespace coppice::testing {

const kernels::AttentionPlan& AttentionCheck::plan_for(const engine::StepPlan& plan) {
  if (attention_ == nullptr || plan.number == 0 || plan.number != planned_) {
    engine::list_plan_sequences(plan, sequences_);
    attention_ = &planner_.plan(sequences_, {.page_size = page_size_, .workers = 3});
    planned_ = plan.number;
  }
  return *attention_;
}

void AttentionCheck::check(const engine::StepPlan& plan) {
  const kernels::AttentionPlan& attention = plan_for(plan);
  read_items(attention);
  for (const engine::StepRow& row : plan.rows) {
    for (std::int32_t i = 0; i < row.token_count; ++i) {
      COPPICE_CHECK(keys_[static_cast<std::size_t>(row.token_begin + i)] == keys_of(plan, row, i),
                    "attention: every row at its position, with its own keys");
    }
  }
}

void AttentionCheck::read_items(const kernels::AttentionPlan& attention) {
  keys_.clear();
  for (const std::int32_t position : attention.row_positions) {
    keys_.emplace_back(static_cast<std::size_t>(position) + 1, kNoSlot);
  }
  for (const kernels::AttentionItem& item : attention.items) {
    for (std::int32_t row = item.row_begin; row < item.row_begin + item.row_count; ++row) {
      std::vector<KvSlot>& keys = keys_[static_cast<std::size_t>(row)];
      for (std::int32_t key = item.key_begin; key < item.key_end && key < static_cast<std::int32_t>(keys.size());
           ++key) {
        const std::int32_t offset = key - item.key_begin;
        KvSlot& slot = keys[static_cast<std::size_t>(key)];
        COPPICE_CHECK(slot == kNoSlot, "attention: a key is in one item");
        slot = item.slot_begin >= 0
                   ? attention.slots[static_cast<std::size_t>(item.slot_begin + offset)]
                   : attention.pages[static_cast<std::size_t>(item.page_begin + offset / page_size_)] * page_size_ +
                         key % page_size_;
      }
    }
  }
}

std::int32_t position_of(const engine::StepPlan& plan, const engine::StepRow& row, std::int32_t index) {
  std::int32_t position = row.begin + std::min(index, row.linear_count() - 1);
  for (std::int32_t node = index - row.linear_count(); node >= 0;
       node = plan.draft_parents[static_cast<std::size_t>(row.parents_begin + node)]) {
    ++position;
  }
  return position;
}

// The page table up to the row itself; of a draft node its ancestors and itself, at the positions behind.
std::vector<KvSlot> AttentionCheck::keys_of(const engine::StepPlan& plan, const engine::StepRow& row,
                                            std::int32_t index) const {
  const std::span<const PageId> pages = plan.pages_of(row);
  const auto slot_of = [&](std::int32_t place) {
    return pages[static_cast<std::size_t>(place / page_size_)] * page_size_ + place % page_size_;
  };
  const std::int32_t position = position_of(plan, row, index);
  std::vector<KvSlot> keys(static_cast<std::size_t>(position) + 1);
  const std::int32_t linear_end = row.begin + std::min(index + 1, row.linear_count());
  for (std::int32_t place = 0; place < linear_end; ++place) {
    keys[static_cast<std::size_t>(place)] = slot_of(place);
  }
  std::int32_t node = index - row.linear_count();
  for (std::int32_t at = position; node >= 0; --at) {
    keys[static_cast<std::size_t>(at)] = slot_of(row.begin + row.linear_count() + node);
    node = plan.draft_parents[static_cast<std::size_t>(row.parents_begin + node)];
  }
  return keys;
}

}  // namespace coppice::testing
