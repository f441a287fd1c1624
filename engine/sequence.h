// Sequence: one choice of one request while it lives, and RequestState: what its choices have in common. Plain data;
// the scheduler decides, the engine commits.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <vector>

#include "base/slot_table.h"
#include "base/types.h"
#include "engine/events.h"
#include "engine/kv_pool.h"
#include "engine/radix_tree.h"
#include "engine/request.h"
#include "engine/speculation/speculator.h"
#include "engine/step_plan.h"

namespace coppice::engine {

// Who goes first: smaller is earlier. Total over live sequences, and unchanged from the first admission on, so the
// first in rank is never set back for another's sake (invariant progress.first).
struct Rank {
  std::int32_t priority = 0;
  bool fresh = true;        // never admitted
  std::uint64_t order = 0;  // fresh: of arrival at the engine; else of admission
  std::int32_t choice = 0;
  auto operator<=>(const Rank&) const = default;
};

struct SequenceKey {
  Rank rank;
  SequenceSlot slot = kNoSequence;
  bool operator<(const SequenceKey& other) const { return rank < other.rank; }
};

// Owner: the engine; lives until the events of its last choice are sent. Thread: the engine's.
struct RequestState {
  Request request;
  std::uint64_t order = 0;
  std::uint64_t seed = 0;
  std::vector<SequenceSlot> choices;  // kNoSequence once finished
  std::int32_t live_choices = 0;
  bool counted_waiting = false;        // holds a place in the waiting room
  std::vector<TokenInfo> prompt_info;  // prompt logprobs so far
};

enum class SequenceState : std::uint8_t {
  kDormant,  // a choice that will fork from its sibling's prompt; has no tokens yet
  kWaiting,  // wants to run; holds pages only if it was just forked
  kRunning,  // holds pages for all its tokens
};

// A sequence drafts well until so many proposals in a row were empty, not worth a row, or wrong.
inline constexpr std::int32_t kDraftMissesMax = 2;

// Invariant sequence.counters: cached() <= computed <= scheduled <= tokens.size() + drafts.
struct Sequence {
  SequenceSlot slot = kNoSequence;
  std::int32_t request = -1;  // slot of its RequestState
  std::int32_t choice = 0;
  SequenceState state = SequenceState::kDormant;
  Rank rank;
  std::uint64_t seed = 0;

  std::vector<TokenId> tokens;  // prompt, then output; the last is kNoToken while `awaits_token`
  std::int32_t prompt_count = 0;
  std::int32_t computed = 0;   // leading tokens whose KV is in `pages`
  std::int32_t scheduled = 0;  // computed once the coming step is back
  std::int32_t scored = -1;    // leading prompt rows whose logprobs were reported; -1: nobody asked
  PageTable pages;
  std::uint64_t pages_identity = 0;  // of the table but for appended pages: changes when an entry goes or is replaced
  RadixLock lock;

  // In the step that runs, once that is taken for done; else -1, false and empty.
  std::int32_t flight_row = -1;  // row of its plan
  bool awaits_token = false;     // the last of `tokens` is being drawn
  DraftTree flying_draft;        // being verified; `computed` says that nothing of it is accepted

  // The coming step's choice; all zero when not in the step.
  std::int32_t planned_count = 0;  // linear rows
  std::int32_t logits_count = 0;   // without drafts
  DraftTree draft;

  std::int32_t taught = 0;                      // leading tokens of prediction + `tokens` that the speculator knows
  std::int32_t draft_misses = kDraftMissesMax;  // proposals since one was accepted in part, up to so many

  // While another sequence computes a prefix that this one needs too: wait until it has.
  SequenceSlot leader = kNoSequence;
  Rank leader_rank;  // the slot may have a new tenant by now
  std::int32_t leader_tokens = 0;

  std::uint64_t event_news = 0;  // the outbox's content that event_place belongs to
  EventPlace event_place;
  bool admitted = false;          // has run before: counted, and its prefix look-up reported
  std::int32_t tenant = -1;       // its number in Tenants while it waits or runs
  std::int32_t charged = 0;       // output tokens charged to the tenant so far
  std::uint64_t state_since = 0;  // the scheduler's step at which it began to wait or to run
  std::int32_t overtaken = 0;     // admissions of others of its tenant behind it in rank while it waited
  bool pin = false;               // its prompt is to be pinned once computed
  // Did not fit when this many pages were available; not tried again until there are more.
  std::int32_t refused_pages = -1;
  Usage usage;

  std::int32_t cached() const { return lock.token_count(); }
  std::int32_t token_count() const { return static_cast<std::int32_t>(tokens.size()); }
  std::int32_t known_count() const { return token_count() - (awaits_token ? 1 : 0); }
  std::int32_t output_count() const { return token_count() - prompt_count; }
  std::int32_t pending() const { return token_count() - computed; }
  bool wants_scores() const { return scored >= 0 && scored < prompt_count - 1; }
  bool drafts_well() const { return draft_misses < kDraftMissesMax; }
  void miss_draft() { draft_misses = std::min(draft_misses + 1, kDraftMissesMax); }
  bool in_step() const { return planned_count > 0; }
  // In this step, up to its last token: a next token will be drawn.
  bool draws() const { return in_step() && computed + planned_count == token_count(); }
};

using SequenceTable = base::SlotTable<Sequence>;
using RequestTable = base::SlotTable<RequestState>;

}  // namespace coppice::engine
