// LineState: where a sequence stands among those that wait and run, and what admission remembers of it.
#pragma once

#include <compare>
#include <cstdint>

#include "base/types.h"

namespace coppice::engine {

// Order of service: smaller is earlier. Total over live sequences, and unchanged from the first admission on, so the
// first in rank is never preempted (invariant progress.first).
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

enum class SequenceState : std::uint8_t {
  kDormant,  // a choice that will fork from its sibling's prompt; has no tokens yet
  kWaiting,  // may run; holds pages only if it was just forked
  kRunning,  // holds pages for all its tokens
};

// Owner: Scheduler, which alone writes it. Everybody else reads.
class LineState {
 public:
  SequenceState state() const { return state_; }
  const Rank& rank() const { return rank_; }
  // Prompt tokens that the prefix cache had at the first admission.
  std::int32_t found_tokens() const { return found_tokens_; }

 private:
  friend class Scheduler;

  SequenceState state_ = SequenceState::kDormant;
  Rank rank_;
  std::uint64_t state_since_ = 0;    // step in which it began to wait or to run
  bool admitted_ = false;            // has run: its prompt is counted and its prefix look-up reported
  std::int32_t found_tokens_ = 0;    // valid once admitted_
  std::int32_t tenant_ = -1;         // its number in Tenants while it waits or runs
  std::int32_t charged_ = 0;         // output tokens charged to the tenant
  std::int32_t overtaken_ = 0;       // admissions from its tenant's line of sequences behind it in rank
  std::int32_t refused_pages_ = -1;  // did not fit into this many available pages: not tried again until there are more
  bool pin_ = false;                 // pin its prompt once computed

  // While a running sequence, the leader, computes a prefix that this one needs too, this one waits.
  SequenceSlot leader_ = kNoSequence;
  Rank leader_rank_;  // differs from the rank of a later sequence in its slot
  std::int32_t leader_tokens_ = 0;
};

}  // namespace coppice::engine
