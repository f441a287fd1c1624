// Constraints: the constraint of each sequence that has one (constraint.h). It says what may be drawn, which drafts can
// be right and which tokens are forced, and remembers which sequences failed by it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/release.h"
#include "base/types.h"
#include "engine/constraint.h"
#include "engine/speculation/speculator.h"
#include "engine/step_plan.h"

namespace coppice::engine {

// Owner: EngineCore. Thread: the engine's. State is keyed by slot, from begin() to end(). A sequence whose constraint
// fails is as if it had none until the engine ends it (take_failed): what it draws meanwhile is thrown away.
class Constraints {
 public:
  explicit Constraints(std::int32_t vocab) : vocab_(vocab), words_((static_cast<std::size_t>(vocab) + 31) / 32) {}

  void begin(SequenceSlot slot, const ConstraintSource& source);
  void end(SequenceSlot slot);
  // Frees the memory of the most sequences that ever lived at once, and of their masks. REQUIRES: none lives.
  void shrink();

  // False: no sequence that lives has a constraint, so there is nothing to do in a step.
  bool any() const { return live_ > 0; }
  bool has(SequenceSlot slot) const {
    return live_ > 0 && static_cast<std::size_t>(slot) < states_.size() &&
           states_[static_cast<std::size_t>(slot)].constraint != nullptr;
  }

  // The sequence's next token, if that does not end it. Returns false when the constraint failed: nothing may be drawn
  // after it.
  bool observe(SequenceSlot slot, TokenId token);

  // Replaces an empty `draft` by the tokens that must come next, at most `nodes_max`: one below the other, each of
  // which survives its parents with the probability `survival`. Returns their number. REQUIRES: has(slot).
  std::int32_t force(SequenceSlot slot, std::int32_t nodes_max, float survival, DraftTree& draft);
  // Drops the nodes that may not come; none without a constraint.
  void filter(SequenceSlot slot, DraftTree& draft);

  // Fills in what each draw of the plan may be. Where end tokens are forbidden (min_tokens) and nothing else may come,
  // the constraint wins. Returns the number of draws that are limited. REQUIRES: the tokens of the plan are known, and
  // the sequences have observed those before their drafts.
  std::int64_t write_masks(StepPlan& plan);

  // A sequence that lives and failed, or kNoSequence when there is none; error() says why. It is to be ended.
  SequenceSlot take_failed();
  std::string error(SequenceSlot slot) const;

 private:
  struct State {
    std::unique_ptr<TokenConstraint> constraint;  // null: none, or it failed
    absl::Status status;
  };

  State& state(SequenceSlot slot) { return states_[static_cast<std::size_t>(slot)]; }
  void fail(SequenceSlot slot, absl::Status status);
  std::int64_t write_row(const StepRow& row, std::size_t first_draw, StepPlan& plan);
  bool tidy_mask(StepDraw& draw, SamplingLists& lists) const;

  const std::int32_t vocab_;
  const std::size_t words_;           // of a mask
  std::deque<State> states_;          // by slot, as far as one had a constraint
  std::int32_t live_ = 0;             // constraints
  std::vector<SequenceSlot> failed_;  // some may have ended since
  // Scratch.
  std::vector<std::uint8_t> flags_;
  std::vector<std::int32_t> prune_scratch_;
};

}  // namespace coppice::engine
