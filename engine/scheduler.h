// Scheduler: which sequences run in the next step, with how many rows, and which pages they hold. It knows nothing of
// tokens' meaning, sampling or events.
//
// It composes five parts, each the only writer of its facts (README.md, "Ownership"):
//   Lines       the waiting and running sequences in rank, tenants
//   Admission   which waiting sequences run next, which running ones give way to them
//   RowBudget   the rows and logits of the coming step
//   PageKeeper  pages, prefix cache, sharing order, kept prefixes, pins
//   Preemption  which sequence gives up its pages when none are free
//
// One step: select() gives every chosen sequence rows and pages; take_draft() may add drafts from what rows are left;
// after the step set_computed() and advance() book what was computed. The next step may be chosen while one runs,
// between the two: sequences' counters then say what they will be when it is over.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/admission.h"
#include "engine/limits.h"
#include "engine/lines.h"
#include "engine/page_keeper.h"
#include "engine/row_budget.h"
#include "engine/sequence.h"

namespace coppice::engine {

// Owner: the engine. Thread: the engine's.
class Scheduler {
 public:
  // When a step is chosen.
  struct Choosing {
    bool again = false;  // for the step chosen last, which did not run: that choice is forgotten
    bool ahead = false;  // while the step before still runs, so which sequences end with it is not known
  };
  struct Choice {
    // False only if ahead: a preemption or failure would be needed. Choose again when the step before has finished;
    // sequences admitted by then keep their pages.
    bool is_complete = true;
    // The step must do these first; they are owed even if it is chosen again. Valid until the next select().
    std::span<const PageCopy> copies;
  };

  // `changes`: see PageKeeper.
  Scheduler(const Limits& limits, bool prefix_cache, SequenceTable& sequences, const RequestTable& requests,
            std::shared_ptr<CacheChangeQueue> changes = nullptr);

  // It is `now`: kept prefixes whose time is over are kept no longer.
  void set_time(base::Clock::TimePoint now) { pages_.set_time(now); }

  // The sequence waits to run. REQUIRES: it has tokens and its request is set.
  void enqueue(Sequence& sequence) { lines_.wait(sequence); }
  // `child`, a dormant choice until now, takes over `parent`'s prompt KV by reference, except the last token's (of a
  // branch: what both have of Request::prompt), and waits to run. REQUIRES: parent has computed its prompt.
  void fork(const Sequence& parent, Sequence& child);
  // Forgets the sequence and gives up its pages.
  void remove(Sequence& sequence);

  // Chooses the next step. Sequences whose pages can never be found are in unfit().
  Choice select(Choosing choosing);
  // Takes the sequence out of the step that was chosen.
  static void leave_out(Sequence& sequence) { RowBudget::leave_out(sequence); }
  const std::vector<SequenceSlot>& unfit() const { return rows_.unfit(); }

  // See RowBudget.
  std::int32_t drafts_max() const { return rows_.drafts_max(); }
  std::int32_t draft_room(const Sequence& sequence) const { return rows_.draft_room(sequence); }
  void take_draft(Sequence& sequence, std::int32_t count) { rows_.take_draft(sequence, count); }

  // The first `count` tokens of the sequence are computed in its pages, or will be when the step that runs is over.
  static void set_computed(Sequence& sequence, std::int32_t count) { PageKeeper::set_computed(sequence, count); }
  // After a step, whose tokens the sequence has by now: books its output to its tenant, and its pages (PageKeeper).
  void advance(Sequence& sequence);

  // Why a prompt of `tokens` tokens cannot be pinned (Request::pin), or "".
  std::string pin_refusal(std::int32_t tokens) const { return pages_.pins().refusal(tokens); }

  // The running sequences in depth-first order of shared pages.
  std::span<const SharingOrder::Entry> order() const { return pages_.order().entries(); }
  // First in rank of all that wait or run; kNoSequence when there is none.
  SequenceSlot oldest() const { return lines_.oldest(); }

  std::int32_t running() const { return lines_.running_count(); }
  std::int32_t waiting() const { return static_cast<std::int32_t>(lines_.waiting().size()); }
  std::int32_t deferred() const { return admission_.deferred(); }  // of the waiting ones: Admission
  bool is_short_of_pages() const { return admission_.is_short_of_pages(); }
  // Sequences that could run beside those that do.
  std::int32_t free_places() const { return admission_.free_places(); }
  std::int32_t pinned_pages() const { return pages_.pins().pages(); }
  std::uint64_t preemptions() const { return preemption_.count(); }
  const Admission::Counts& admissions() const { return admission_.counts(); }
  const KvPool& pool() const { return pages_.pool(); }
  const RadixTree& tree() const { return pages_.tree(); }
  const Tenants& tenants() const { return lines_.tenants(); }
  // COPPICE_CHECKs the invariants of PageKeeper.
  void check_integrity() const { pages_.check_integrity(); }

 private:
  PageKeeper pages_;
  Lines lines_;
  Preemption preemption_;
  RowBudget rows_;
  Admission admission_;
};

}  // namespace coppice::engine
