// Sequence: one choice of one request while it lives, and RequestState: what its choices have in common. Plain data;
// the scheduler decides, the engine commits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/slot_table.h"
#include "base/types.h"
#include "engine/admission_state.h"
#include "engine/events.h"
#include "engine/line_state.h"
#include "engine/outbox.h"
#include "engine/page_hold.h"
#include "engine/request.h"
#include "engine/speculation/speculator.h"
#include "engine/step_choice.h"
#include "engine/step_plan.h"

namespace coppice::engine {

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

// A sequence drafts well until this number of proposals in a row were empty, not worth a row, or wrong. Two, because
// one wrong draft says little and three cost more than a draft saves.
inline constexpr std::int32_t kDraftMissesMax = 2;

// The tokens of a sequence and how far the engine is with them. Writers: RequestDesk (begin and end), Settlement.
struct TokenState {
  std::vector<TokenId> ids;  // prompt, then output; the last is kNoToken while `awaits_token`
  std::int32_t prompt_count = 0;
  std::int32_t count_max = 0;  // the sequence ends by length when it has this number of tokens
  std::int32_t scored = -1;    // leading prompt rows whose logprobs were reported; -1: not asked for
  bool awaits_token = false;   // the last of `ids` is being drawn

  std::int32_t count() const { return static_cast<std::int32_t>(ids.size()); }
  // Tokens that may still be generated: at 0 the sequence ends by length.
  std::int32_t left() const { return count_max - count(); }
  // False: only the prompt is asked about (max_tokens is 0).
  bool has_output() const { return count_max > prompt_count; }
  // Makes room for the token that is being drawn. Not if it is the last: then there is no step behind it.
  void await_token() {
    if (left() > 1) {
      ids.push_back(kNoToken);
      awaits_token = true;
    }
  }
  void forget_awaited() {
    if (awaits_token) {
      ids.pop_back();
      awaits_token = false;
    }
  }
};

// What the speculator knows of a sequence and proposes for it. Writer: Drafter.
struct DraftState {
  DraftTree draft;                        // for the coming step
  DraftTree flying;                       // being verified; PageHold::computed() assumes that no node is accepted
  std::int32_t taught = 0;                // leading tokens of prediction + ids that the speculator knows
  std::int32_t misses = kDraftMissesMax;  // proposals since one was accepted in part, at most kDraftMissesMax

  bool drafts_well() const { return misses < kDraftMissesMax; }
  void count_draft(bool accepted) { misses = accepted ? 0 : std::min(misses + 1, kDraftMissesMax); }
  // Its step starts.
  void fly() {
    std::swap(flying, draft);
    draft.clear();
  }
};

// A sequence's facts, each in a part with one owner that alone writes it.
// Invariant sequence.counters: cached() <= computed() <= scheduled() <= token_count() + drafts.
struct Sequence {
  SequenceSlot slot = kNoSequence;
  std::int32_t request = -1;  // slot of its RequestState
  std::int32_t choice = 0;
  std::uint64_t seed = 0;
  Usage usage;

  TokenState tokens;
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
  std::int32_t known_count() const { return token_count() - (tokens.awaits_token ? 1 : 0); }
  std::int32_t output_count() const { return token_count() - tokens.prompt_count; }
  std::int32_t pending() const { return token_count() - computed(); }
  bool wants_scores() const { return tokens.scored >= 0 && tokens.scored < tokens.prompt_count - 1; }
  bool in_step() const { return chosen.in_step(); }
  // In this step, up to its last token: a next token will be drawn.
  bool draws() const { return in_step() && computed() + chosen.planned_count() == token_count(); }
};

using SequenceTable = base::SlotTable<Sequence>;
using RequestTable = base::SlotTable<RequestState>;

}  // namespace coppice::engine
