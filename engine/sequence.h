// Sequence: one choice of one request while it lives, and RequestState: what its choices have in common. Plain data in
// parts, one for each kind of fact. A part has one owner, which alone writes it: what it keeps is private to the owner
// (README.md, "Ownership"). Every class may read all parts.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/slot_table.h"
#include "base/types.h"
#include "engine/events.h"
#include "engine/kv_pool.h"
#include "engine/radix_tree.h"
#include "engine/request.h"
#include "engine/speculation/speculator.h"
#include "engine/token_state.h"

namespace coppice::engine {

// Owner: the engine; lives until the events of its last choice are sent. Thread: the engine's.
struct RequestState {
  Request request;
  std::uint64_t order = 0;
  std::uint64_t seed = 0;
  std::vector<SequenceSlot> choices;  // kNoSequence once finished
  std::int32_t live_choices = 0;
  std::int32_t dormant_choices = 0;    // of the live ones
  bool counted_waiting = false;        // holds a place in the waiting room
  base::Clock::TimePoint submitted;    // when it got it
  std::uint64_t queued_ns = 0;         // until its first step began; 0 before
  std::vector<TokenInfo> prompt_info;  // prompt logprobs so far
};

// The KV pages of a sequence and what is computed in them. Writer: PageKeeper.
class PageHold {
 public:
  const PageTable& pages() const { return pages_; }
  // Changes whenever an entry of pages() is dropped or replaced; appending keeps it.
  std::uint64_t identity() const { return identity_; }
  // Leading tokens whose KV is in pages(), or will be when the step that runs is over.
  std::int32_t computed() const { return computed_; }
  // Leading tokens that the prefix cache has, locked for this sequence: whole pages.
  std::int32_t cached() const { return lock_.token_count(); }
  // The prefix cache's node where those end; kNoRadixNode: it holds none.
  RadixNodeId node() const { return lock_.node(); }
  // Prompt tokens in pages that the prefix cache has, or had, from this sequence and that it did not find there.
  std::int32_t written() const { return written_; }

 private:
  friend class PageKeeper;

  RadixLock lock_;
  PageTable pages_;  // after the lock, so that pages are given up first
  std::uint64_t identity_ = 0;
  std::int32_t computed_ = 0;
  std::int32_t written_ = 0;
  std::int32_t found_or_written_ = 0;  // leading pages that have been found or shown: none is counted again
  std::int32_t keeps_done_ = 0;        // of its request's kept prefixes
  bool in_order_ = false;              // it stands in the sharing order: the sequence runs
  bool pin_tried_ = false;             // its prompt is pinned, or cannot be
};

// Order of service: smaller is earlier. Total over live sequences, and unchanged from the first admission on, so the
// first in rank is never preempted (invariant progress.first).
struct Rank {
  std::int32_t priority = 0;
  bool fresh = true;        // never admitted
  std::uint64_t order = 0;  // fresh: of arrival at the engine, moved by priority; else of admission
  std::int32_t choice = 0;
  auto operator<=>(const Rank&) const = default;
};

struct SequenceKey {
  Rank rank;
  SequenceSlot slot = kNoSequence;
  bool operator<(const SequenceKey& other) const { return rank < other.rank; }
};

enum class SequenceState : std::uint8_t {
  kDormant,  // a choice that will fork from its sibling's prompt; has no tokens yet
  kWaiting,  // may run; holds pages only if it was just forked
  kRunning,  // holds pages for all its tokens
};

// Where a sequence stands among those that wait and run. Writer: Lines.
class LineState {
 public:
  SequenceState state() const { return state_; }
  bool is_running() const { return state_ == SequenceState::kRunning; }
  const Rank& rank() const { return rank_; }
  // The request's. Between tenants rank().priority counts: 0 for all but those in the background, unless priorities
  // order all tenants' requests.
  std::int32_t priority() const { return priority_; }
  // Its number in Tenants while it waits or runs, else -1.
  std::int32_t tenant() const { return tenant_; }

 private:
  friend class Lines;

  SequenceState state_ = SequenceState::kDormant;
  Rank rank_;
  std::int32_t priority_ = 0;
  std::uint64_t since_ = 0;  // step in which it began to wait or to run
  std::int32_t tenant_ = -1;
  std::int32_t charged_ = 0;  // output tokens charged to the tenant
};

// What admission remembers of a sequence. Writer: Admission.
class AdmissionState {
 public:
  // Prompt tokens that the prefix cache had when the sequence was first admitted, without those taken over from the
  // sequence that it was forked from; 0 before.
  std::int32_t found_tokens() const { return found_tokens_; }

 private:
  friend class Admission;

  bool admitted_ = false;  // once: its prompt is charged and counted
  std::int32_t found_tokens_ = 0;
  std::int32_t forked_tokens_ = 0;   // of its prompt, a fork's parent had computed; 0 once that is accounted for
  std::int32_t overtaken_ = 0;       // admissions of sequences behind it in its tenant's line
  std::int32_t refused_pages_ = -1;  // did not fit into this many available pages: not tried again until there are more

  // A running sequence that computes a prefix which this one needs: this one waits until the cache has it.
  SequenceSlot leader_ = kNoSequence;
  Rank leader_rank_;  // differs from the rank of a later sequence in the leader's slot
  std::int32_t leader_tokens_ = 0;
};

// What a sequence has of the coming step: all zero when it is not in it. Writer: RowBudget.
class StepChoice {
 public:
  // Token rows of the sequence's own tokens, without drafts.
  std::int32_t planned_count() const { return planned_count_; }
  // Token rows with an output (logits, or a hidden state), without those of drafts.
  std::int32_t output_count() const { return output_count_; }
  // Draft nodes; each has a token row and a logits row.
  std::int32_t draft_count() const { return draft_count_; }
  bool in_step() const { return planned_count_ > 0; }

 private:
  friend class RowBudget;

  std::int32_t planned_count_ = 0;
  std::int32_t output_count_ = 0;
  std::int32_t draft_count_ = 0;
};

// A sequence drafts well until this number of proposals in a row were empty, not worth a row, or wrong. Chosen,
// not measured: two, because one wrong draft says little.
inline constexpr std::int32_t kDraftMissesMax = 2;

// Of a draft whose first `forced` nodes are one below the other: how many of these are on the accepted path.
inline std::int32_t count_forced(std::span<const std::int32_t> path, std::int32_t forced) {
  return static_cast<std::int32_t>(std::ranges::count_if(path, [forced](std::int32_t node) { return node < forced; }));
}

// What the speculator knows of a sequence and proposes for it. Writer: Drafter, with its Teacher.
class DraftState {
 public:
  // For the coming step.
  const DraftTree& draft() const { return draft_; }
  // Being verified; PageHold::computed() assumes that no node is accepted.
  const DraftTree& flying() const { return flying_; }
  // Leading nodes of flying() that the sequence's constraint forces.
  std::int32_t forced_flying() const { return forced_flying_; }
  bool drafts_well() const { return misses_ < kDraftMissesMax; }

 private:
  friend class Drafter;
  friend class Teacher;

  void count_draft(bool accepted) { misses_ = accepted ? 0 : std::min(misses_ + 1, kDraftMissesMax); }

  DraftTree draft_;
  DraftTree flying_;
  std::int32_t forced_ = 0;  // leading nodes of draft_ that the sequence's constraint forces
  std::int32_t forced_flying_ = 0;
  std::int32_t taught_ = 0;                // leading tokens of prediction + ids that the speculator knows
  std::int32_t misses_ = kDraftMissesMax;  // proposals since one was accepted in part, at most kDraftMissesMax
};

// Invariant sequence.counters: cached() <= computed() <= scheduled() <= token_count() + drafts.
struct Sequence {
  SequenceSlot slot = kNoSequence;
  std::int32_t request = -1;  // slot of its RequestState
  std::int32_t choice = 0;
  std::uint64_t seed = 0;
  Usage usage;

  TokenState tokens;
  ReadingState reading;
  PageHold hold;
  LineState line;
  AdmissionState admission;
  StepChoice chosen;
  DraftState drafting;
  OutboxEntry event;

  std::int32_t cached() const { return hold.cached(); }
  std::int32_t computed() const { return hold.computed(); }
  // Tokens computed once the coming step is over, if all its drafts are accepted.
  std::int32_t scheduled() const { return computed() + chosen.planned_count() + chosen.draft_count(); }
  std::int32_t token_count() const { return tokens.count(); }
  std::int32_t known_count() const { return token_count() - (tokens.awaits_token() ? 1 : 0); }
  std::int32_t output_count() const { return token_count() - tokens.prompt_count(); }
  std::int32_t pending() const { return token_count() - computed(); }
  // An output of each prompt row was requested, and not all of them are reported.
  bool wants_rows() const { return tokens.rows_reported() >= 0 && tokens.rows_reported() < tokens.rows_wanted(); }
  bool in_step() const { return chosen.in_step(); }
  // In this step, up to its last token: a next token will be drawn, or what is read is complete.
  bool draws() const { return in_step() && computed() + chosen.planned_count() == token_count(); }
};

using SequenceTable = base::SlotTable<Sequence>;
using RequestTable = base::SlotTable<RequestState>;

}  // namespace coppice::engine
