// AttentionPlan: the attention of one step as a flat list of work items (rows × key range × mask) that every backend
// executes. A shared prefix is an item with more rows (Hydragen, arXiv 2402.05099, at every level of the tree), a split
// KV cache an item with a shorter key range (Flash-Decoding), a prompt chunk an item with a causal mask, a drafted path
// an item with its own key slots.
//
// Exactness. For a row at position p, let s_0 < s_1 < … be the splits (key_positions.h) that its keys touch. The result
// is merge(…merge(merge(P(s_0), P(s_1)), P(s_2))…) with P(s) = the unnormalised partial (m, l, o) of one split, then o
// / l. An item that folds walks its splits in that order. It starts empty, or from the state that the item named by
// `after` left for the same rows. An item that does not fold leaves one partial per split for the merge. So every item
// computes a prefix or single terms of the same left fold, whatever the grouping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "base/types.h"
#include "kernels/plan_costs.h"

namespace coppice::kernels {

// One item: token rows [row_begin, row_begin + row_count) attend to keys [key_begin, key_end), for every KV head. Rows
// mask keys by visibility (key_positions.h), so a causal chunk needs no other mask.
struct AttentionItem {
  std::int32_t row_begin = 0;
  std::int32_t row_count = 0;
  std::int32_t key_begin = 0;   // absolute position; a split boundary
  std::int32_t key_end = 0;     // absolute position, exclusive
  std::int32_t page_begin = 0;  // plan.pages[page_begin + (k - key_begin) / page_size] holds key k; not for a path item
  std::int32_t slot_begin = -1;  // >= 0: a path item; plan.slots[slot_begin + (k - key_begin)] is key k's KV slot
  std::int32_t after = -1;       // >= 0: an earlier item, which left its rows' states in the same partial slots
  // First partial slot; -1: none. An item that folds keeps row i's state in slot partial_begin + i: it reads the state
  // if `after` is set and writes it unless it writes the output. An item that does not fold writes split s of row i to
  // slot partial_begin + s * row_count + i.
  std::int32_t partial_begin = -1;
  bool folds = true;           // one state for the whole range; else one partial a split
  bool writes_output = false;  // no other item follows for its rows: it divides and writes the output itself
};

// The plan of one step. Immutable; valid for all layers of the step. Owner: the planner that made it.
struct AttentionPlan {
  std::int32_t row_count = 0;
  std::int32_t page_size = 0;
  std::int32_t window = 0;                      // sliding window in tokens; 0 = none
  std::int32_t partial_count = 0;               // partial slots in use; each holds (m, l, o) for every query head
  std::vector<AttentionItem> items;             // an item stands behind the one it runs after; else largest first
  std::vector<PageId> pages;                    // page lists of items
  std::vector<KvSlot> slots;                    // key slots of path items
  std::vector<std::int32_t> row_positions;      // [row_count] position of each row: it attends to keys 0 … position
  std::vector<std::int32_t> row_partial_begin;  // [row_count + 1] CSR into row_partials; empty: written by its item
  std::vector<std::int32_t> row_partials;       // partial slots in ascending key position
  // What sharing saves, for metrics: keys attended (sum over rows) and keys read (sum over items), per KV head.
  std::int64_t keys_attended = 0;
  std::int64_t keys_read = 0;
  std::int32_t shared_items = 0;  // items whose rows belong to two or more sequences
  std::int32_t depth = 0;         // largest number of items that cover one row
};

// One sequence of the step, in depth-first order of the radix tree (sequences that share pages stand side by side).
// Rows [row_begin, row_begin + row_count): first the linear rows at positions position_begin, position_begin + 1, …;
// then one row per draft node. Draft node i is stored in the KV slot of table position position_begin + linear_count +
// i. It attends as if its ancestors were the positions before it: the root's children have position position_begin +
// linear_count, their children one more, and so on.
struct PlanSequence {
  std::span<const PageId> pages;  // page table; covers every position the rows attend to, drafts included
  std::int32_t row_begin = 0;
  std::int32_t row_count = 0;
  std::int32_t position_begin = 0;
  // Per draft node: its parent's draft index, or -1: the last linear row. Parents come first.
  std::span<const std::int32_t> draft_parents = {};
  std::int32_t shared_pages = -1;  // leading pages in common with the previous sequence of the list; -1: compare
  // Not 0: the planner may update the last plan instead of planning anew. REQUIRES: in two successive plans, the page
  // tables of a sequence with this identity differ only by pages appended at the end.
  std::uint64_t identity = 0;
};

struct PlanOptions {
  bool sharing = true;   // false: plain Flash-Decoding, the in-house baseline; same bits, more reads
  bool chaining = true;  // items may run after others and continue their states; false: all items are independent, at
                         // the price of more partials
  std::int32_t page_size = 16;
  std::int32_t window = 0;
  std::int32_t group_size = 1;  // query_heads / key_heads: matrix rows per token row, for sizing items
  std::int32_t key_heads = 1;
  std::int32_t workers = 1;  // how many workers the items should keep busy
  PlanCosts costs = {};      // of the device
  // Partial slots that the device has room for (StepRunner::partials_most): where a plan would take more, its items are
  // cut less, which changes no bit. REQUIRES: a bound has at least the rows of a step, and chaining.
  std::int32_t partials_most = std::numeric_limits<std::int32_t>::max();

  bool operator==(const PlanOptions&) const = default;
};

// Idle page entries that updates of a plan may leave in its page lists before the lists are written anew: few beside
// the lists of a full step, enough that growing sequences rarely cause it. Device buffers of plans have room for as
// many. Chosen, not measured.
inline constexpr std::size_t kSparePages = 4096;

// Makes plans. Owner: the runner. Thread: its caller. Keeps its arrays between steps, so a steady step allocates
// nothing.
class AttentionPlanner {
 public:
  AttentionPlanner();
  ~AttentionPlanner();
  AttentionPlanner(AttentionPlanner&&) noexcept;
  AttentionPlanner& operator=(AttentionPlanner&&) noexcept;

  // Returns the plan; valid until the next call. Updates the last plan in place, in O(sequences), if every sequence has
  // an identity and decodes one row and the list is the last one some tokens further; otherwise makes a new one.
  // REQUIRES: sequences' rows tile [0, total rows) in order; page_size divides 128 and is a multiple of 16.
  const AttentionPlan& plan(std::span<const PlanSequence> sequences, const PlanOptions& options);
  // Whether the last plan() updated the plan before it.
  bool is_updated() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace coppice::kernels
