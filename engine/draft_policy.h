// DraftPolicy: how much time and how many tokens the Drafter may spend on drafts. Plain numbers and pure functions of
// them; tests/unit/engine/draft_policy_test.cc holds their values against hand-computed ones.
#pragma once

#include <algorithm>
#include <cstdint>

namespace coppice::engine {

// Every number that drafting is tuned by, except those of the suffix trees (SuffixSpeculatorOptions) and of the
// choice among proposed nodes (draft_budget.h).
struct DraftPolicy {
  // Most draft nodes of one sequence in one step. A choice, not a measurement: no GPU has verified drafts yet.
  std::int32_t nodes_max = 32;
  // Verify every node that fits, whatever steps cost. For tests, which time nothing.
  bool takes_all = false;

  // Tokens handed over before a step, which waits for it: about 50 us at 1 us a token
  // (docs/performance/speculation.md). Of all sequences together, or of each where the time of steps is known. What
  // remains is handed over beside the step; a sequence with tokens that the speculator does not know drafts nothing in
  // this step.
  std::int32_t teach_before = 48;
  // Where the time of steps is not known, 1/others_in of teach_before is kept for sequences that do not draft well.
  std::int32_t others_in = 4;
  // Tokens handed over beside every step, added to one for each of its rows: a prompt found in the cache has no rows.
  std::int32_t teach_beside = 48;
  // Tokens' worth of put-off work beside every step: a third of a step's own teaching, so that it never piles up.
  std::int32_t catch_up_beside = 32;
  // Tokens between two looks at whether the device still works: about 50 us.
  std::int32_t teach_slice = 48;
  // Tokens of put-off work between two looks at the commands when there is nothing else to do: about 1 ms.
  std::int32_t catch_up_idle = 1024;

  // Asking may take 1/asking_in of the last step's time …
  std::uint64_t asking_in = 100;
  // … or these nanoseconds if that is more: about ten proposals of 3 us each …
  std::uint64_t asking_ns_min = 30'000;
  // … but no more than 1/asking_short_in of a step that is short.
  std::uint64_t asking_short_in = 10;
  // Sequences that draft well may be asked for as long as their drafts promise to save, up to 1/asking_most_in of the
  // last step: 8 %, which a draft that is accepted in part repays.
  std::uint64_t asking_most_in = 12;
  // Time beyond the allowance is taken from later steps, at most this many allowances: one ask that the operating
  // system interrupts must not silence drafting for hundreds of steps.
  double debt_max = 8;
  // Part of the promised savings that counts: a promise may fail, and a step with drafts is planned anew.
  double promise_share = 0.5;
  // Nodes that a sequence is asked for, however many others draft: shorter drafts do not repay the question.
  std::int32_t nodes_least = 4;

  // Nanoseconds that asking may take in a step like the last one, which took step_ns.
  std::uint64_t asking_ns(std::uint64_t step_ns) const {
    return std::max(step_ns / asking_in, std::min(asking_ns_min, step_ns / asking_short_in));
  }
  // The same with all that promised savings may add.
  std::uint64_t asking_ns_most(std::uint64_t step_ns) const {
    return std::max(asking_ns(step_ns), step_ns / asking_most_in);
  }
  // Nodes to ask one sequence for when `sequences` draft well and the step has room for `room`: twice its share of the
  // room, since many propose fewer.
  std::int32_t nodes_each(std::int32_t room, std::int32_t sequences) const {
    if (takes_all) {
      return nodes_max;
    }
    return std::min(nodes_max, std::max(nodes_least, 2 * room / (sequences + 1)));
  }
};

}  // namespace coppice::engine
