// Speculator: drafts how a sequence goes on, so that one step may verify several tokens. A draft costs time and never
// changes an answer: accepted tokens are exactly those that would have been drawn without it (settlement.h).
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

// A tree of drafted tokens, parents before children. With the likeliest branch first, accepted KV mostly stays where it
// is. Example: after "a", the drafts "b c" and "d": tokens {b, c, d}, parents {-1, 0, -1}.
struct DraftTree {
  std::vector<TokenId> tokens;
  std::vector<std::int32_t> parents;  // index in `tokens`, or -1 = the sequence's last token
  // The estimated probability that the node is reached and accepted, in (0, 1], never above its parent's. The step's
  // draft budget goes by it (draft_budget.h).
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

// What tokens are to their sequence, in the order in which they are observed. Only outputs are kept for other
// sequences.
enum class TokenSource : std::uint8_t { kPrediction, kPrompt, kOutput };

// Owner: the engine. Thread: the engine's. State is keyed by slot, from begin() to end(). A call takes time in
// proportion to its own tokens: the engine hands long prompts over piece by piece.
class Speculator {
 public:
  virtual ~Speculator() = default;
  // Starts a sequence. What is learned from it stays with its tenant.
  virtual void begin(SequenceSlot slot, std::string_view tenant) = 0;
  // Learns the sequence's next tokens, in order of `source`. A prompt's tail may be skipped if the sequence ends early;
  // its output never is.
  virtual void observe(SequenceSlot slot, TokenSource source, std::span<const TokenId> tokens) = 0;
  // Fills `tree` with at most `draft_max` nodes of what may follow the last observed token, none with a survival below
  // `survival_min`. The engine may verify fewer nodes, or none.
  // REQUIRES: `tree` is empty; all tokens of the sequence were observed. ENSURES: siblings carry different tokens.
  virtual void propose(SequenceSlot slot, std::int32_t draft_max, float survival_min, DraftTree& tree) = 0;
  // Reports the outcome of the sequence's last draft, before its tokens are observed: `tree` is the part that was
  // verified, `path` the accepted nodes of `tree` from the root's child on.
  virtual void verified(SequenceSlot slot, const DraftTree& tree, std::span<const std::int32_t> path) = 0;
  // Ends a sequence. `remaining`: its last outputs, not observed yet; catch_up() learns them.
  virtual void end(SequenceSlot slot, std::span<const TokenId> remaining) = 0;

  // Adds sequences to the owner's corpus of that name; drops the corpus (its sequences are ignored). Quick: catch_up()
  // does the work.
  virtual void learn(Corpus&& /*corpus*/) {}
  virtual void forget(const Corpus& /*corpus*/) {}
  // Starts a copy of the outputs of ended sequences. catch_up() makes it piece by piece.
  virtual void begin_capture() {}
  // Moves the finished copy into `out`, for restore() of another run; returns false while the copy is not finished.
  virtual bool take_capture(SpeculationSnapshot& /*out*/) { return true; }
  // Learns the outputs of another run. REQUIRES: no sequence has begun. ERRORS: InvalidArgument; nothing is learned.
  virtual absl::Status restore(SpeculationSnapshot&& /*captured*/) { return absl::OkStatus(); }
  // Does deferred work that takes about as long as observing `tokens_max` tokens. Returns false when none is left.
  virtual bool catch_up(std::int32_t /*tokens_max*/) { return false; }
};

}  // namespace coppice::engine
