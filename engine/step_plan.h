// StepPlan: what runs in one step, as rows of one table. "Advance a sequence from `begin` by `token_count` tokens and
// return the last `logits_count` logits": prompt chunks, decoding, recompute and verification of drafts are the same
// row with different numbers; there is no prefill and no decode anywhere.
//
//   case                            token_count   draft_count   logits_count
//   prompt chunk, not the last      n             0             0
//   last prompt chunk               n             0             1
//   chunk with prompt logprobs      n             0             up to n
//   decode                          1             0             1
//   verify a draft tree, d nodes    1 + d         d             1 + d
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/types.h"
#include "kernels/backend.h"
#include "kernels/sampling.h"

namespace coppice::engine {

using coppice::kNoSequence;
using coppice::SequenceSlot;

// Entries [begin, begin + count) of one of a plan's arrays.
struct PlanRange {
  std::int32_t begin = 0;
  std::int32_t count = 0;
  bool operator==(const PlanRange&) const = default;

  template <typename T>
  std::span<const T> of(const std::vector<T>& array) const {
    return std::span<const T>(array).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
  }
};

// One sequence's part of a step. Its token rows are plan.tokens[token_begin … token_begin + token_count): first the
// linear ones at positions begin, begin + 1, …, then draft_count draft nodes, parents before children. Draft node i has
// its KV at table position begin + (token_count - draft_count) + i.
struct StepRow {
  SequenceSlot slot = kNoSequence;
  std::int32_t begin = 0;
  std::int32_t token_count = 0;
  std::int32_t draft_count = 0;
  std::int32_t logits_count = 0;
  std::int32_t token_begin = 0;    // first token row
  std::int32_t logits_begin = 0;   // first entry of logits_rows and draws
  std::int32_t parents_begin = 0;  // first entry of draft_parents
  std::int32_t shared_pages = 0;   // leading pages in common with the row before; -1 = not known
  PlanRange pages;                 // of plan.pages: the page table; covers begin + token_count positions
  std::uint64_t identity = 0;      // the same in two steps: the same page table, with pages appended

  std::int32_t linear_count() const { return token_count - draft_count; }
  bool operator==(const StepRow&) const = default;
};

struct PageCopy {
  PageId from = kNoPage;
  PageId to = kNoPage;
};

// How one logits row is sampled. The ranges are of the plan's arrays of these names.
struct StepDraw {
  kernels::DrawNumbers numbers;
  PlanRange counts;
  PlanRange biases;
  PlanRange forbidden;
};

// Lists of StepDraws.
struct SamplingLists {
  std::vector<kernels::TokenCount> counts;
  std::vector<kernels::TokenBias> biases;
  std::vector<TokenId> forbidden;

  void clear() {
    counts.clear();
    biases.clear();
    forbidden.clear();
  }
};

// A value: it owns its arrays and points nowhere, so it may be copied, recorded, run again and given to several
// devices. Clearing keeps the arrays' memory. Rows stand in depth-first order of shared page prefixes: sequences that
// share pages are neighbours.
struct StepPlan {
  std::uint64_t number = 0;  // not 0: two plans with the same number differ in `tokens` and how they are drawn alone
  std::vector<kernels::SlotMove> moves;  // first of all, in order: accepted draft paths to consecutive slots
  std::vector<PageCopy> copies;          // then these: a page about to be written that has other holders
  std::vector<StepRow> rows;
  std::vector<TokenId> tokens;              // one a token row
  std::vector<KvSlot> slots;                // where the token row's K and V go
  std::vector<PageId> pages;                // page tables of the rows
  std::vector<std::int32_t> draft_parents;  // draft index of the parent within its row; -1 = the last linear token
  std::vector<std::int32_t> logits_rows;    // token rows whose logits are computed, ascending
  std::vector<StepDraw> draws;              // one a logits row
  SamplingLists lists;

  std::int32_t token_count() const { return static_cast<std::int32_t>(tokens.size()); }
  bool empty() const { return rows.empty(); }
  std::span<const PageId> pages_of(const StepRow& row) const { return row.pages.of(pages); }
  std::span<const std::int32_t> parents_of(const StepRow& row) const {
    return PlanRange{row.parents_begin, row.draft_count}.of(draft_parents);
  }

  // Keeps moves and copies.
  void clear_rows() {
    rows.clear();
    tokens.clear();
    slots.clear();
    pages.clear();
    draft_parents.clear();
    logits_rows.clear();
    draws.clear();
    lists.clear();
  }
  void clear() {
    moves.clear();
    copies.clear();
    clear_rows();
  }
};

}  // namespace coppice::engine
