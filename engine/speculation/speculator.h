// Speculator: guesses how a sequence goes on, so that one step may verify several tokens. Guesses cost time, never
// truth: what is accepted is exactly what would have been drawn without them (accept.h).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/types.h"
#include "engine/speculation/corpus.h"

namespace coppice::engine {

struct SpeculationSnapshot;  // snapshot_file.h

// A tree of guessed tokens, parents before children; the likeliest branch first keeps accepted KV where it is.
// Example: after "a", guesses "b c" and "d": tokens {b, c, d}, parents {-1, 0, -1}.
struct DraftTree {
  std::vector<TokenId> tokens;
  std::vector<std::int32_t> parents;  // index in `tokens`, or -1 = the sequence's last token
  // The estimated probability that the node is reached and accepted, in (0, 1], never above its parent's: what the
  // step's budget goes by (draft_budget.h).
  std::vector<float> survival;

  void clear() {
    tokens.clear();
    parents.clear();
    survival.clear();
  }
  void add(TokenId token, std::int32_t parent, float probability) {
    tokens.push_back(token);
    parents.push_back(parent);
    survival.push_back(probability);
  }
  // Keeps the first `count` nodes: a tree again, since parents stand before their children.
  void truncate(std::int32_t count) {
    tokens.resize(static_cast<std::size_t>(count));
    parents.resize(static_cast<std::size_t>(count));
    survival.resize(static_cast<std::size_t>(count));
  }
  std::int32_t size() const { return static_cast<std::int32_t>(tokens.size()); }
};

// What tokens are to their sequence: all of a predicted output first, then all of the prompt, then outputs as they
// come. Only outputs are worth remembering for other sequences.
enum class TokenSource : std::uint8_t { kPrediction, kPrompt, kOutput };

// Owner: the engine. Thread: the engine's. State is keyed by slot, from begin() to end(). No call may take longer than
// its own tokens ask for: the engine hands long prompts over piece by piece.
class Speculator {
 public:
  virtual ~Speculator() = default;
  // A sequence starts. What is learnt from it stays with its tenant.
  virtual void begin(SequenceSlot slot, std::string_view tenant) = 0;
  // The sequence's next tokens, in order of `source`. The end of a long prompt may never come when the sequence is to
  // end at once; its output still does.
  virtual void observe(SequenceSlot slot, TokenSource source, std::span<const TokenId> tokens) = 0;
  // At most `draft_max` guesses of what follows the last observed token, none that survives with less than
  // `survival_min`; `tree` comes empty and may stay so. Siblings carry different tokens. The engine asks only when it
  // has handed over all tokens of the sequence; it may verify fewer of the guesses, or none.
  virtual void propose(SequenceSlot slot, std::int32_t draft_max, float survival_min, DraftTree& tree) = 0;
  // What became of the sequence's last proposal, before its outcome is observed: `tree` is the part of it that was
  // verified, `path` the nodes of `tree` that were accepted, from the root's child on.
  virtual void verified(SequenceSlot slot, const DraftTree& tree, std::span<const std::int32_t> path) = 0;
  // The sequence is over. `rest`: its last outputs, which were not handed over; they are learnt when there is time.
  virtual void end(SequenceSlot slot, std::span<const TokenId> rest) = 0;

  // Adds to the owner's corpus of that name, or drops it (a corpus without sequences will do). Quick: what takes time
  // is left for catch_up().
  virtual void learn(Corpus&& /*corpus*/) {}
  virtual void forget(const Corpus& /*corpus*/) {}
  // Starts a copy of what was learnt from outputs that have ended, which catch_up() makes piece by piece.
  virtual void begin_capture() {}
  // True when the copy is complete, or there is none: then `out` is it, for restore() of another run.
  virtual bool take_capture(SpeculationSnapshot& /*out*/) { return true; }
  // Before the first sequence: what another run had learnt. ERRORS: InvalidArgument; nothing is learnt then.
  virtual absl::Status restore(SpeculationSnapshot&& /*captured*/) { return absl::OkStatus(); }
  // Does work that was put off, about as much as observing `tokens_max` tokens is. False when none is left.
  virtual bool catch_up(std::int32_t /*tokens_max*/) { return false; }
};

}  // namespace coppice::engine
