// Drafter: everything the engine does about guesses: it asks the speculator and constraints for drafts, chooses those
// that a step carries, teaches the speculator, and learns what steps cost. It never changes an answer (settlement.h).
#pragma once

#include <array>
#include <cstdint>
#include <future>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "engine/constraints.h"
#include "engine/draft_budget.h"
#include "engine/learned.h"
#include "engine/page_keeper.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/speculation/speculator.h"
#include "engine/step_plan.h"

namespace coppice::engine {

// Hands the tokens of sequences over to the speculator, piece by piece, most of them while the device works. Owner: the
// Drafter. Thread: the engine's. `order`: the running sequences.
class Teacher {
 public:
  using Order = std::span<const SharingOrder::Entry>;

  // overlaps: the device works beside the engine's thread, so there is time for tokens later.
  Teacher(Speculator& speculator, const DraftPolicy& policy, SequenceTable& sequences, const RequestTable& requests,
          bool overlaps)
      : speculator_(speculator), policy_(policy), sequences_(sequences), requests_(requests), overlaps_(overlaps) {}

  // Tokens of the sequence that the speculator does not know.
  std::int32_t untaught(const Sequence& sequence) const;
  // Hands over at most `tokens_max` of the sequence's next tokens. Returns their number.
  std::int32_t teach(Sequence& sequence, std::int32_t tokens_max);
  // The same for all running sequences, those with few new tokens first: they are the ones that will draft.
  std::int32_t teach_running(Order order, std::int32_t tokens_max);
  // Beside every step of `rows` rows: tokens of the sequences and put-off work. Returns whether more is left.
  bool teach_beside(Order order, std::int32_t rows);
  // Once more, while the device works. Returns whether more is left.
  bool teach_slice(Order order);
  // The sequence ends: hands over what other sequences may learn from, its output. If much of that is missing, it is
  // put off to a later step, provided the device works meanwhile.
  void end(Sequence& sequence);

 private:
  std::int32_t predicted_count(const Sequence& sequence) const;

  Speculator& speculator_;
  const DraftPolicy& policy_;
  SequenceTable& sequences_;
  const RequestTable& requests_;
  const bool overlaps_;
};

// What the Drafter looks at and writes to.
struct DraftHomes {
  Scheduler& scheduler;
  Constraints& constraints;
  SequenceTable& sequences;
  const RequestTable& requests;
};

// Owner: EngineCore. Thread: the engine's. Writes DraftState. Without a speculator speculation is off: it drafts
// nothing, not even forced tokens, and learns nothing.
class Drafter {
 public:
  // overlaps: the device works beside the engine's thread.
  Drafter(std::unique_ptr<Speculator> speculator, const DraftPolicy& policy, const DraftHomes& homes,
          const base::Clock& clock, bool overlaps);

  // A sequence's life.
  void begin(const Sequence& sequence, std::string_view tenant);
  // A step starts that verifies the sequence's draft.
  static void start(Sequence& sequence);
  // The step that verified sequence.drafting.flying() accepted the nodes `path` of it.
  void verified(Sequence& sequence, std::span<const std::int32_t> path);
  void end(Sequence& sequence);

  // Before a step that the scheduler has chosen: gives its sequences drafts. Returns the number of nodes that the step
  // carries.
  std::int32_t propose();

  // Beside a step of `rows` rows: teaches the speculator a fixed amount, then, while the device works, slice by slice.
  // Both return whether more is left.
  bool teach_beside(std::int32_t rows);
  bool teach_slice();
  // When there is nothing to run: does put-off work for about a millisecond. Returns whether more is left.
  bool catch_up_idle();

  // After a step of `rows` rows.
  void step_done(std::int32_t rows, const StepResult& result);
  // Nanoseconds that a step of `rows` rows is expected to take; 0: unknown.
  double expected_ns(std::int32_t rows) const;
  // Of the last step: the pass without attention, which the costs of steps are learned from.
  double last_body_ns() const { return last_body_ns_; }

  // Corpora, and what was learned (Engine::learn, forget, capture, restore). A copy in the making serves every capture
  // that is requested meanwhile; end_capture() delivers it once it is complete.
  void learn(Corpus&& corpus);
  void forget(const Corpus& corpus);
  void begin_capture(std::promise<Learned> captured);
  void end_capture();
  absl::Status restore(Learned learned);

 private:
  // How sequences are asked in one step.
  struct Asking {
    float survival_min = 0;
    std::int32_t nodes_max = 0;
    double token_ns = 0;    // what a token costs without drafts
    bool is_timed = false;  // the time of steps is known
  };

  bool is_promising(const Sequence& sequence) const;
  StepOutlook outlook() const;
  void ask_all(float survival_min, double value);
  std::int32_t ask_some(bool well, const Asking& asking, std::int32_t tokens_max);
  double ask(Sequence& sequence, const Asking& asking, bool is_taught);
  void draft_constrained(Sequence& sequence, std::int32_t nodes_max, float survival_min, bool is_taught);
  void take(std::int32_t count);

  const std::unique_ptr<Speculator> speculator_;
  const DraftPolicy policy_;
  Scheduler& scheduler_;
  Constraints& constraints_;
  SequenceTable& sequences_;
  const base::Clock& clock_;
  const bool overlaps_;
  std::unique_ptr<Teacher> teacher_;  // null without a speculator
  StepCost step_cost_;
  ForcedSurvival forced_survival_;
  std::uint64_t last_step_ns_ = 0;
  double last_body_ns_ = 0;
  std::array<AskingTurn, 2> turns_;      // of sequences that do not draft well, and that do
  std::vector<SequenceSlot> proposing_;  // sequences with a proposal in this step
  std::vector<DraftCandidate> candidates_;
  std::vector<std::vector<std::uint8_t>> keep_;
  std::vector<std::int32_t> node_scratch_;
  DraftTree proposal_;  // scratch
  std::vector<std::promise<Learned>> captures_;
};

}  // namespace coppice::engine
