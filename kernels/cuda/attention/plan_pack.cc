// The packing of an AttentionPlan for the device.
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/attention/device_plan.h"

namespace coppice::kernels::cuda {
namespace {

constexpr std::size_t kWord = sizeof(std::int32_t);  // bytes: a plan is an array of words

std::int32_t blocks_of(const AttentionItem& item, std::int32_t group, std::int32_t block_rows) {
  return (item.row_count * group + block_rows - 1) / block_rows;
}

// Writes word after word. Without memory it only counts, so the size always matches what is written.
class Words {
 public:
  explicit Words(std::span<std::byte> memory) : memory_(memory.data()), words_most_(memory.size() / kWord) {}

  std::int32_t size() const { return size_; }
  template <typename T>
  void add(const T& value) {
    static_assert(sizeof(T) % kWord == 0);
    if (memory_ != nullptr) {
      std::memcpy(place_for(sizeof value), &value, sizeof value);
    }
    size_ += static_cast<std::int32_t>(sizeof value / kWord);
  }
  // Returns where they begin.
  std::int32_t add_all(std::span<const std::int32_t> values) {
    const std::int32_t begin = size_;
    if (memory_ != nullptr && !values.empty()) {
      std::memcpy(place_for(values.size_bytes()), values.data(), values.size_bytes());
    }
    size_ += static_cast<std::int32_t>(values.size());
    return begin;
  }

 private:
  std::byte* place_for(std::size_t bytes) const {
    const auto begin = static_cast<std::size_t>(size_);
    COPPICE_CHECK(begin + bytes / kWord <= words_most_, "staging for the attention plan");
    return memory_ + begin * kWord;
  }

  std::byte* memory_;
  std::size_t words_most_;
  std::int32_t size_ = 0;
};

std::int32_t add_units(const AttentionPlan& plan, std::int32_t group, std::int32_t block_rows, Words& words) {
  std::int32_t count = 0;
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    for (std::int32_t block = 0; block < blocks_of(plan.items[i], group, block_rows); ++block) {
      words.add(DeviceUnit{static_cast<std::int32_t>(i), block});
      ++count;
    }
  }
  return count;
}

// continued: of each item, whether another continues its states.
void add_items(const AttentionPlan& plan, const std::vector<bool>& continued, std::int32_t group,
               std::int32_t block_rows, std::int32_t pages, std::int32_t slots, Words& words) {
  const bool merges = !plan.row_partials.empty();
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    const AttentionItem& item = plan.items[i];
    DeviceItem out = {};
    out.row_begin = item.row_begin;
    out.row_count = item.row_count;
    out.key_begin = item.key_begin;
    out.key_end = item.key_end;
    out.by_slot = item.slot_begin >= 0 ? 1 : 0;
    out.places = item.slot_begin >= 0 ? slots + item.slot_begin : pages + item.page_begin;
    out.after = item.after;
    out.after_blocks =
        item.after < 0 ? 0 : blocks_of(plan.items[static_cast<std::size_t>(item.after)], group, block_rows);
    out.partial_begin = item.partial_begin;
    out.folds = item.folds ? 1 : 0;
    out.writes_output = item.folds && item.writes_output ? 1 : 0;
    out.awaited = (continued[i] ? kAwaitedByItem : 0) | (merges && out.writes_output == 0 ? kAwaitedByMerge : 0);
    words.add(out);
  }
}

// Returns for each item whether another continues its states.
std::vector<bool> continued_items(const AttentionPlan& plan) {
  std::vector<bool> continued(plan.items.size(), false);
  for (const AttentionItem& item : plan.items) {
    if (item.after >= 0) {
      continued[static_cast<std::size_t>(item.after)] = true;
    }
  }
  return continued;
}

std::int32_t count_merge_units(const AttentionPlan& plan, std::int32_t group, std::int32_t block_rows) {
  std::int32_t count = 0;
  for (const AttentionItem& item : plan.items) {
    count += item.folds && item.writes_output ? 0 : blocks_of(item, group, block_rows);
  }
  return count;
}

std::size_t pack(const AttentionPlan& plan, std::int32_t group, std::int32_t head_dim, std::int32_t row_positions,
                 std::span<std::byte> memory) {
  const std::int32_t block_rows = attention_block_rows(attention_padded_dim(head_dim));
  Words words(memory);
  DevicePlanHeader header = {};
  words.add(header);
  header.item_count = static_cast<std::int32_t>(plan.items.size());
  header.window = plan.window;
  header.row_positions = row_positions;
  const std::int32_t pages = words.add_all(plan.pages);
  const std::int32_t slots = words.add_all(plan.slots);
  header.items = words.size();
  add_items(plan, continued_items(plan), group, block_rows, pages, slots, words);
  header.units = words.size();
  header.unit_count = add_units(plan, group, block_rows, words);
  if (!plan.row_partials.empty()) {
    header.merge_units = count_merge_units(plan, group, block_rows);
    header.row_partial_begin = words.add_all(plan.row_partial_begin);
    header.row_partials = words.add_all(plan.row_partials);
    header.merge_rows = words.size();
    for (std::int32_t row = 0; row < plan.row_count; ++row) {
      const auto place = static_cast<std::size_t>(row);
      if (plan.row_partial_begin[place] < plan.row_partial_begin[place + 1]) {
        words.add(row);
        ++header.merge_row_count;
      }
    }
  }
  if (memory.data() != nullptr) {
    std::memcpy(memory.data(), &header, sizeof header);
  }
  return static_cast<std::size_t>(words.size()) * kWord;
}

}  // namespace

std::size_t attention_plan_bytes(const AttentionPlan& plan, std::int32_t group, std::int32_t head_dim) {
  return pack(plan, group, head_dim, 0, {});
}

std::size_t pack_attention_plan(const AttentionPlan& plan, std::int32_t group, std::int32_t head_dim,
                                std::int32_t row_positions, std::span<std::byte> staging) {
  COPPICE_CHECK(staging.size() >= sizeof(DevicePlanHeader), "staging for the attention plan");
  return pack(plan, group, head_dim, row_positions, staging);
}

}  // namespace coppice::kernels::cuda
