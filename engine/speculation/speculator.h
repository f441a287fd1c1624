// Speculator: guesses how a sequence goes on, so that one step may verify several tokens. Guesses cost time, never
// truth: what is accepted is exactly what would have been drawn without them (accept.h).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace coppice::engine {

// A tree of guessed tokens, parents before children; the likeliest branch first keeps accepted KV where it is.
// Example: after "a", guesses "b c" and "d": tokens {b, c, d}, parents {-1, 0, -1}.
struct DraftTree {
  std::vector<TokenId> tokens;
  std::vector<std::int32_t> parents;  // index in `tokens`, or -1 = the sequence's last token

  void clear() {
    tokens.clear();
    parents.clear();
  }
  std::int32_t size() const { return static_cast<std::int32_t>(tokens.size()); }
};

// Owner: the engine. Thread: the engine's. State is keyed by slot, from begin() to end().
class Speculator {
 public:
  virtual ~Speculator() = default;
  // A sequence starts; `prediction` is OpenAI's predicted output, often empty. What is learnt from a sequence stays
  // with its tenant.
  virtual void begin(SequenceSlot slot, std::string_view tenant, std::span<const TokenId> prompt,
                     std::span<const TokenId> prediction) = 0;
  // Tokens that were generated, in order.
  virtual void observe(SequenceSlot slot, std::span<const TokenId> tokens) = 0;
  // At most `draft_max` guesses of what follows the last observed token; `tree` comes empty and may stay so. Siblings
  // carry different tokens.
  virtual void propose(SequenceSlot slot, std::int32_t draft_max, DraftTree& tree) = 0;
  // How the last proposal did: of `proposed` nodes `accepted` were drawn.
  virtual void verified(SequenceSlot slot, std::int32_t proposed, std::int32_t accepted) = 0;
  virtual void end(SequenceSlot slot) = 0;
};

}  // namespace coppice::engine
