// What a sequence's output may be, beyond what the model says: a grammar, forced tool calls, a budget for thinking. The
// engine knows no text: it asks which tokens may come and says which one came.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/types.h"

namespace coppice::engine {

// Drafted tokens, parents before children. Node i has the token tokens[i] and stands below node parents[i] < i, or
// below the sequence's last token where that is -1.
struct DraftNodes {
  std::span<const std::int32_t> parents;
  std::span<const TokenId> tokens;
};

// Where one sequence stands. No method throws. Its answers depend on the accepted tokens alone. After an error only the
// destructor is called: the sequence fails. What is complete allows end tokens alone, and so again after one of them,
// for a sequence that ignores them and goes on to its length. Owner: the engine. Thread: the engine's.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;

  // The sequence's next token. Not called for the one that ends it. ERRORS: InvalidArgument for a token that may not
  // come here; ResourceExhausted.
  virtual absl::Status accept(TokenId token) = 0;

  // Sets allowed[i] to 1 where node i may come after its parents, which are all allowed, else to 0. Quick: no masks are
  // made. REQUIRES: one entry a node.
  virtual absl::Status check_draft(const DraftNodes& draft, std::span<std::uint8_t> allowed) = 0;

  // Says what may come after the sequence's last token (entry 0) and after each draft node i (entry 1 + i). Entry e is
  // limited[e] = 1 with bit t % 32 of its word t / 32 set for every token t that may come; or limited[e] = 0 where
  // every token may come, and its words are left as they are. A limited entry has at least one token; bits beyond the
  // vocabulary mean nothing. Called once a step, after check_draft() if anything is drafted. REQUIRES: check_draft()
  // allows every node; `masks` has the same number of words for each entry, enough for the model's vocabulary.
  virtual absl::Status fill_masks(const DraftNodes& draft, std::span<std::uint32_t> masks,
                                  std::span<std::uint8_t> limited) = 0;

  // Returns tokens for what must come next whatever the model says; empty where there is a choice. They are drafted,
  // not taken for granted: the same text may be cut into other tokens.
  virtual absl::StatusOr<std::vector<TokenId>> forced_tokens() = 0;
};

// Makes the constraint of each choice of a request. Thread: immutable; the engine's thread calls begin().
class ConstraintSource {
 public:
  virtual ~ConstraintSource() = default;

  // ERRORS: ResourceExhausted, Internal: the choice fails.
  virtual absl::StatusOr<std::unique_ptr<TokenConstraint>> begin() const = 0;
};

}  // namespace coppice::engine
