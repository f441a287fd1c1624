// Teacher: hands the tokens of sequences over to the speculator, piece by piece, most of them while the device works.
#pragma once

#include <cstdint>
#include <span>

#include "engine/draft_policy.h"
#include "engine/sequence.h"
#include "engine/sharing_order.h"
#include "engine/speculation/speculator.h"

namespace coppice::engine {

// Owner: the Drafter. Thread: the engine's. `order`: the running sequences.
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

}  // namespace coppice::engine
