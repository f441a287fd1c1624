// AdmissionState: what admission remembers of a sequence.
#pragma once

#include <cstdint>

#include "base/types.h"
#include "engine/line_state.h"

namespace coppice::engine {

// Owner: Admission, which alone writes it; the others read.
class AdmissionState {
 public:
  // Prompt tokens that the prefix cache had when the sequence was first admitted; 0 before.
  std::int32_t found_tokens() const { return found_tokens_; }

 private:
  friend class Admission;

  bool admitted_ = false;  // once: its prompt is charged and counted
  std::int32_t found_tokens_ = 0;
  std::int32_t overtaken_ = 0;       // admissions of sequences behind it in its tenant's line
  std::int32_t refused_pages_ = -1;  // did not fit into this many available pages: not tried again until there are more

  // A running sequence that computes a prefix which this one needs: this one waits until the cache has it.
  SequenceSlot leader_ = kNoSequence;
  Rank leader_rank_;  // differs from the rank of a later sequence in the leader's slot
  std::int32_t leader_tokens_ = 0;
};

}  // namespace coppice::engine
