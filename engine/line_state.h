// LineState: where a sequence stands among the sequences that wait and run.
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

// Owner: Lines, which alone writes it; the others read.
class LineState {
 public:
  SequenceState state() const { return state_; }
  bool is_running() const { return state_ == SequenceState::kRunning; }
  const Rank& rank() const { return rank_; }
  // Its number in Tenants while it waits or runs, else -1.
  std::int32_t tenant() const { return tenant_; }

 private:
  friend class Lines;

  SequenceState state_ = SequenceState::kDormant;
  Rank rank_;
  std::uint64_t since_ = 0;  // step in which it began to wait or to run
  std::int32_t tenant_ = -1;
  std::int32_t charged_ = 0;  // output tokens charged to the tenant
};

}  // namespace coppice::engine
