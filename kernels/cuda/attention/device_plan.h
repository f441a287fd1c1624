// An AttentionPlan in the kernel's format: one array of words in device memory, the header first. It holds everything
// that changes from step to step; launch parameters do not change, so one captured graph serves every plan.
#pragma once

#include <cstdint>

namespace coppice::kernels::cuda {

// Matrix rows (token rows x query heads of one key head) of a block: sixteen for each of its four warps, or of two
// where more would not fit into registers. `padded_dim`: attention_padded_dim().
constexpr std::int32_t attention_warps(std::int32_t padded_dim) {
  return padded_dim <= 128 ? 4 : 2;
}
constexpr std::int32_t attention_block_rows(std::int32_t padded_dim) {
  return 16 * attention_warps(padded_dim);
}

// Returns the head dimension of the kernel that serves `head_dim`: its own where many models have it, else the next of
// three.
constexpr std::int32_t attention_padded_dim(std::int32_t head_dim) {
  if (head_dim == 80 || head_dim == 96) {
    return head_dim;
  }
  return head_dim <= 64 ? 64 : head_dim <= 128 ? 128 : 256;
}

// How a block's warps share a unit's work: as logarithms of how many take splits side by side and how many share the
// columns of the same rows and split. The other warps have other rows.
struct AttentionDeal {
  std::int32_t splits_log2;
  std::int32_t shares_log2;
};

// Below as many splits, all warps work on one split after the other: with two of them, in half the time that two warps
// need for a split each; with three, in the same time. Counted in steps, not measured.
inline constexpr std::int32_t kSplitsApart = 3;

// rows, splits: matrix rows of the unit, splits that it walks through. can_share: the kernel's warps can share columns.
constexpr AttentionDeal deal_attention(std::int32_t warps_log2, std::int32_t rows, std::int32_t splits,
                                       bool can_share) {
  if (can_share && rows <= 16 && splits < kSplitsApart) {
    return {0, warps_log2};
  }
  return {rows <= 16 ? warps_log2 : rows <= 32 ? warps_log2 - 1 : 0, 0};
}

// Offsets are in words from the header's beginning.
struct DevicePlanHeader {
  std::int32_t item_count;
  std::int32_t unit_count;       // a unit and a key head are one piece of work
  std::int32_t merge_row_count;  // rows whose result is put together from partials
  std::int32_t merge_units;      // units whose partials and states the merge waits for
  std::int32_t window;
  std::int32_t items;              // DeviceItem [item_count]
  std::int32_t units;              // DeviceUnit [unit_count], in the plan's order
  std::int32_t row_positions;      // [rows]; may be negative: they stand where the caller put them
  std::int32_t merge_rows;         // [merge_row_count] row
  std::int32_t row_partial_begin;  // [rows + 1]
  std::int32_t row_partials;
  std::int32_t reserved;  // what follows is aligned to 16 bytes
};

// The fields of AttentionItem (attention_plan.h) that the kernel reads.
struct DeviceItem {
  std::int32_t row_begin;
  std::int32_t row_count;
  std::int32_t key_begin;
  std::int32_t key_end;
  std::int32_t places;         // word offset of its pages, or of its slots
  std::int32_t after;          // -1, or the item whose states it continues
  std::int32_t after_blocks;   // blocks of rows which that item has
  std::int32_t partial_begin;  // -1: none
  std::int32_t by_slot;        // places are slots, one a key
  std::int32_t folds;
  std::int32_t writes_output;
  std::int32_t awaited;  // kAwaited…, or 0: its units count nowhere when they are done
};

// What waits for the units of an item.
inline constexpr std::int32_t kAwaitedByItem = 1;   // a bit: an item that continues its states
inline constexpr std::int32_t kAwaitedByMerge = 2;  // a bit: the merge of its partials

// Rows [block * attention_block_rows, …) of an item.
struct DeviceUnit {
  std::int32_t item;
  std::int32_t block;
};

// Words of AttentionCall::progress.
inline constexpr std::int32_t kProgressClaims = 0;  // next piece of work
inline constexpr std::int32_t kProgressUnits = 1;   // finished units that the merge waits for
inline constexpr std::int32_t kProgressBlocks = 2;  // blocks that found nothing more to do
inline constexpr std::int32_t kProgressItems = 4;   // [item][key head]: finished blocks of rows, if items wait for it

}  // namespace coppice::kernels::cuda
