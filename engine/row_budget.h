// RowBudget: how many token rows and output rows of the coming step each sequence gets, and Preemption: which sequence
// gives up its pages when a row needs some and none are free.
//
// Sequences with one pending token come first in every step, so a long prompt never delays them; prompts share the rows
// that are left; drafts take what remains after those.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/limits.h"
#include "engine/lines.h"
#include "engine/page_keeper.h"
#include "engine/sequence.h"

namespace coppice::engine {

// Takes pages from sequences when neither the pool nor the prefix cache has any left. A preempted sequence waits again;
// its tokens stay, its KV is recomputed. Owner: the scheduler. Thread: the engine's.
class Preemption {
 public:
  // What became of a claim for pages.
  enum class Room : std::uint8_t {
    kMade,   // the pages are free
    kLater,  // sequences of this step hold them, or some that end with the step before may: next step
    kYield,  // sequences before the claimant in rank hold them
    kNever,  // no other sequence holds any
  };

  Preemption(SequenceTable& sequences, Lines& lines, PageKeeper& pages)
      : sequences_(sequences), lines_(lines), pages_(pages) {}

  // A step is chosen. ahead: while the step before runs, so no sequence may be preempted.
  void begin_step(bool ahead) {
    ahead_ = ahead;
    needed_ = false;
  }
  // Whether sequences may be preempted or fail in this choice. False is remembered as was_needed().
  bool allowed();
  // Whether the choice needed a preemption that was not allowed.
  bool was_needed() const { return needed_; }

  // Frees `pages` pages: cached ones first, then those of sequences behind the claimant in rank, the last one first.
  Room make_room(std::int32_t pages, const Sequence& claimant);
  // Makes `pages` pages available by taking those of waiting sequences behind the claimant in rank. Returns whether
  // they are.
  bool take_from_holders(std::int32_t pages, const Sequence& claimant);
  // REQUIRES: the sequence runs and is neither in the step chosen nor in the one that runs.
  void preempt(Sequence& sequence);

  // Preemptions so far.
  std::uint64_t count() const { return count_; }

 private:
  void drop_holder(Sequence& sequence);

  SequenceTable& sequences_;
  Lines& lines_;
  PageKeeper& pages_;
  bool ahead_ = false;
  bool needed_ = false;
  std::uint64_t count_ = 0;
};

// While others may use them, the first prompt in rank has one half of the rows that prompts share, and 1/kNewcomersIn
// of them is kept for a request that is about to be admitted, so its first rows need not wait for a long prompt's end.
// Others are prompts of better priority between tenants, of less served tenants, and those at most half as long as what
// the first still has to compute.
inline constexpr std::int32_t kNewcomersIn = 4;

// Owner: the scheduler. Thread: the engine's. Writes StepChoice. Loops are bounded by limits.running_max.
class RowBudget {
 public:
  RowBudget(const Limits& limits, SequenceTable& sequences, const Lines& lines, PageKeeper& pages,
            Preemption& preemption);

  // Takes all sequences out of the step and gives it all its rows again.
  void begin_step();
  // Rows for running sequences with one pending token.
  void select_decoding();
  // The running sequence first in rank with more than one pending token; null when there is none.
  const Sequence* first_prompt() const;
  // Rows for the first prompt, then for those that may share with it: least served tenant first, then the shortest.
  // newcomer: a waiting sequence may share too, so rows are kept for it.
  void select_prompts(bool newcomer);
  // The rows that are still left to prompts, in rank.
  void top_up_prompts();
  // Gives the sequence at most `rows_max` rows and the pages they need. It may stay out of the step: when rows, outputs
  // or pages are missing; it was preempted then, or is unfit, or waits for the next step.
  void plan(Sequence& sequence, std::int32_t rows_max);
  // Takes the sequence out of the step.
  static void leave_out(Sequence& sequence) { sequence.chosen = {}; }

  // Draft nodes that the step may carry in all: free rows and outputs.
  std::int32_t drafts_max() const { return std::min(rows_left_, outputs_left_); }
  // Draft nodes that `sequence` may carry: free rows, outputs and pages.
  std::int32_t draft_room(const Sequence& sequence) const;
  // Gives `count` draft nodes of the sequence rows, outputs and pages. REQUIRES: count <= draft_room().
  void take_draft(Sequence& sequence, std::int32_t count);

  // Whether `other` may use rows of the half that the first prompt in rank leaves to others.
  bool may_share(const Sequence& first, const Sequence& other) const;
  std::int32_t rows_left() const { return rows_left_; }
  // Sequences of this step whose pages can never be found.
  const std::vector<SequenceSlot>& unfit() const { return unfit_; }

 private:
  bool hold_pages(Sequence& sequence, std::int32_t token_count);

  const Limits limits_;
  SequenceTable& sequences_;
  const Lines& lines_;
  PageKeeper& pages_;
  Preemption& preemption_;
  std::int32_t rows_left_ = 0;
  std::int32_t outputs_left_ = 0;
  std::vector<SequenceSlot> unfit_;
  std::vector<SequenceKey> scratch_;  // what a loop walks while preemption changes the running list
};

}  // namespace coppice::engine
