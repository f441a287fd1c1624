// Preemption: taking pages from sequences when neither the pool nor the prefix cache has any left.
#pragma once

#include <cstdint>

#include "engine/lines.h"
#include "engine/page_keeper.h"
#include "engine/sequence.h"

namespace coppice::engine {

// Owner: the scheduler. Thread: the engine's. A preempted sequence waits again; its tokens stay, its KV is recomputed.
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

}  // namespace coppice::engine
