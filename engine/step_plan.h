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
//
// A row of a sequence whose hidden states are read has no logits but the last `hidden_count` hidden states: 1 of the
// last chunk, or all.
//
// The engine plans; a StepExecutor runs the plan on the model and brings a StepResult back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/types.h"
#include "kernels/attention_plan.h"
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
  std::int32_t hidden_count = 0;
  std::int32_t token_begin = 0;    // first token row
  std::int32_t logits_begin = 0;   // first entry of logits_rows and draws
  std::int32_t hidden_begin = 0;   // first entry of hidden_rows
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
  PlanRange allowed;  // empty: every token
  PlanRange labels;
};

// Lists of StepDraws.
struct SamplingLists {
  std::vector<kernels::TokenCount> counts;
  std::vector<kernels::TokenBias> biases;
  std::vector<TokenId> forbidden;
  std::vector<std::uint32_t> allowed;  // masks: bit t % 32 of word t / 32 is token t's
  std::vector<TokenId> labels;

  void clear() {
    counts.clear();
    biases.clear();
    forbidden.clear();
    allowed.clear();
    labels.clear();
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
  std::vector<std::int32_t> hidden_rows;    // token rows whose final hidden states are brought back, ascending
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
    hidden_rows.clear();
    lists.clear();
  }
  void clear() {
    moves.clear();
    copies.clear();
    clear_rows();
  }
};

// A plan as kernels take it: views of its arrays, valid while the plan stays as it is.

// Replaces `sequences` by one entry a row of the plan, in its order.
inline void list_plan_sequences(const StepPlan& plan, std::vector<kernels::PlanSequence>& sequences) {
  sequences.clear();
  for (const StepRow& row : plan.rows) {
    kernels::PlanSequence& sequence = sequences.emplace_back();
    sequence.pages = plan.pages_of(row);
    sequence.row_begin = row.token_begin;
    sequence.row_count = row.token_count;
    sequence.position_begin = row.begin;
    sequence.draft_parents = plan.parents_of(row);
    sequence.shared_pages = row.shared_pages;
    sequence.identity = row.identity;
  }
}

inline kernels::SamplingRow sampling_row(const StepDraw& draw, const SamplingLists& lists) {
  kernels::SamplingRow row;
  static_cast<kernels::DrawNumbers&>(row) = draw.numbers;
  row.counts = draw.counts.of(lists.counts);
  row.biases = draw.biases.of(lists.biases);
  row.forbidden = draw.forbidden.of(lists.forbidden);
  row.allowed = draw.allowed.of(lists.allowed);
  row.labels = draw.labels.of(lists.labels);
  return row;
}

// Replaces `rows` by one entry a logits row of the plan.
inline void list_sampling_rows(const StepPlan& plan, std::vector<kernels::SamplingRow>& rows) {
  rows.clear();
  for (const StepDraw& draw : plan.draws) {
    rows.push_back(sampling_row(draw, plan.lists));
  }
}

// What a step brought back. The results are valid until the next collect().
struct StepResult {
  std::span<const kernels::SamplingResult> results;  // one a logits row
  std::span<const float> hidden;                     // one hidden state a hidden row, one after the other
  std::int64_t keys_attended = 0;                    // AttentionPlan's counts
  std::int64_t keys_read = 0;
  std::int32_t shared_items = 0;
  std::int32_t depth = 0;
  // The engine's own thread: planning; computing the forward pass, or enqueueing it and the draws on a device that
  // works by itself; drawing, or waiting for such a device. Nothing between submit() and draw().
  std::uint64_t plan_ns = 0;
  std::uint64_t forward_ns = 0;
  std::uint64_t attention_ns = 0;  // part of forward_ns; 0 where the device does not report it
  std::uint64_t sample_ns = 0;
  std::uint64_t device_ns = 0;  // from the first to the last operation of a device that works by itself, else 0
};

// The seam between what runs and how: the Runner, or a truth oracle in tests. A step is submit(), draw(), collect().
// The three are apart so that a device may work between them: masks of constrained sequences are made between the first
// two, and much else between the last two; prepare() does what it can for the next step there, before its tokens are
// known. Owner: the engine. Thread: the engine's. At most one step between submit() and collect().
class StepExecutor {
 public:
  virtual ~StepExecutor() = default;
  // submit() and draw() return while the device still works: what the caller does until collect() costs no time.
  virtual bool is_asynchronous() const { return false; }
  // Between draw() and collect(): the device has not finished yet. False where that is unknown.
  virtual bool is_working() const { return false; }
  // Does what of the next submit() can be done while a step runs. REQUIRES: between draw() and collect(), and
  // submit() only starts a step. ENSURES: nothing of `plan` is read after the return; a plan with the same number that
  // is submitted later differs from it in `tokens` and in how they are drawn alone.
  virtual void prepare(const StepPlan& /*plan*/) {}
  // Starts the step: moves, copies, forward pass. REQUIRES: no step is between submit() and collect(); `plan` stays as
  // and where it is until collect() returns, except that draws and their lists may change until draw(). ERRORS: any;
  // nothing was done then, not even the plan's moves and copies.
  virtual absl::Status submit(const StepPlan& plan) = 0;
  // Draws from the logits of the step, or has the device do it when it has them. REQUIRES: follows submit(), with the
  // same plan. What goes wrong is collect()'s to say.
  virtual void draw(const StepPlan& plan) = 0;
  // Waits for the step. ERRORS: any; moves and copies were done, the KV and results of the plan's rows are lost.
  virtual absl::StatusOr<StepResult> collect() = 0;
};

}  // namespace coppice::engine
