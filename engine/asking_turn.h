// AskingTurn: of sequences that are asked for drafts in turn, which one comes next and for how long the asking may go
// on. The time is a credit: each step adds its allowance, each ask takes what it cost, promised savings add to it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "engine/draft_policy.h"

namespace coppice::engine {

// Owner: the Drafter. Thread: the engine's. Reads no clock.
class AskingTurn {
 public:
  // A step that is expected to take step_ns is about to be asked for.
  void begin_step(const DraftPolicy& policy, std::uint64_t step_ns) {
    const auto given_ns = static_cast<double>(policy.asking_ns(step_ns));
    most_ns_ = static_cast<double>(policy.asking_ns_most(step_ns));
    credit_ns_ = std::clamp(credit_ns_ + given_ns, -policy.debt_max * given_ns, given_ns);
    spent_ns_ = 0;
  }
  bool has_time() const { return credit_ns_ > 0 && spent_ns_ <= most_ns_; }
  // The place in a list of `count` sequences with which to begin.
  std::size_t first(std::size_t count) const { return count == 0 ? 0 : next_ % count; }
  // The sequence at `place` of the list was asked, which took spent_ns and promises to save promised_ns.
  void asked(std::size_t place, double spent_ns, double promised_ns) {
    next_ = place + 1;
    spent_ns_ += spent_ns;
    credit_ns_ += promised_ns - spent_ns;
  }

 private:
  std::size_t next_ = 0;
  double credit_ns_ = 0;
  double spent_ns_ = 0;  // in this step
  double most_ns_ = 0;   // that may be spent in this step
};

}  // namespace coppice::engine
