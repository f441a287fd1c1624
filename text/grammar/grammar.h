// Grammars over a model's tokens: compiled once, followed by one matcher a sequence.
//
// The engine inside is XGrammar's C++ core; no header of it is seen from here. Special tokens never match: they are
// kept from the engine's vocabulary, except marks and the end tokens, which are allowed where the grammar is complete.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/types.h"
#include "text/grammar/grammar_spec.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::text {

// Work is counted in steps of the engine, about 25 ns each: the same grammar and tokens take the same steps always.
inline constexpr std::int64_t kStepsUnlimited = std::numeric_limits<std::int64_t>::max();

struct GrammarOptions {
  SchemaLimits limits;
  std::int64_t compile_steps_max = 400'000'000;  // some 10 s; the largest schema in use that we know takes a tenth
  // White space between two tokens of JSON, so that no output runs to its limit on blanks. Enough for a line end and
  // seven levels of two blanks. Small models fill what they may: the bundled one writes a tenth of text with 32.
  int white_space_max = 16;
  // Special tokens that a structural tag may name ("type": "token"). No text matches them.
  std::vector<TokenId> marks = {};
};

// A grammar over one vocabulary. Copies share it. Thread: immutable; any number may use it at once.
class CompiledGrammar {
 public:
  struct State;
  explicit CompiledGrammar(std::shared_ptr<const State> state) : state_(std::move(state)) {}

  // Returns about how much memory it keeps.
  std::size_t memory_bytes() const;
  // Returns the keywords of its schemas that it does not enforce. Empty if the spec was strict.
  const std::vector<UnenforcedKeyword>& unenforced() const;
  const State& state() const { return *state_; }

 private:
  std::shared_ptr<const State> state_;
};

// Compiles grammars for one tokenizer. Thread: any number may compile at once, each on its own thread only.
class GrammarCompiler {
 public:
  // `vocab_size`: rows of the model's logits; the tokenizer may have fewer tokens. ERRORS: InvalidArgument when it has
  // more, or when an end token is outside.
  static absl::StatusOr<std::unique_ptr<GrammarCompiler>> create(const Tokenizer& tokenizer, std::int32_t vocab_size,
                                                                 std::span<const TokenId> end_tokens,
                                                                 GrammarOptions options = {});
  ~GrammarCompiler();

  // ERRORS: as check_spec; InvalidArgument also for what the engine refuses, OutOfRange for what takes too many steps;
  // Cancelled soon after `is_cancelled` is set.
  absl::StatusOr<CompiledGrammar> compile(const GrammarSpec& spec,
                                          const std::atomic<bool>* is_cancelled = nullptr) const;

 private:
  struct Vocabulary;
  GrammarCompiler(std::unique_ptr<Vocabulary> vocabulary, GrammarOptions options);
  // ERRORS: InvalidArgument when not even a first token is allowed.
  static absl::Status check_first_mask(const CompiledGrammar& grammar);

  std::unique_ptr<Vocabulary> vocabulary_;
  GrammarOptions options_;
};

// Where one sequence stands in its grammar. Owned by one thread at a time. After OutOfRange, which any call returns
// when it takes more steps than are left, only the destructor may be called.
class GrammarMatcher {
 public:
  static absl::StatusOr<GrammarMatcher> create(CompiledGrammar grammar, std::int64_t steps_max = kStepsUnlimited);
  GrammarMatcher(GrammarMatcher&&) noexcept;
  GrammarMatcher& operator=(GrammarMatcher&&) noexcept;
  ~GrammarMatcher();

  // Steps that all calls from here on may take together.
  std::int64_t steps_left() const;
  void set_steps_left(std::int64_t steps);

  // Returns false, and stays where it is, for a token that the grammar does not allow here.
  absl::StatusOr<bool> accept(TokenId token);

  // Sets bit t % 32 of word t / 32 for every token t that may come next, clears the others. After an end token only end
  // tokens may come. REQUIRES: mask.size() >= mask_words(); words beyond are cleared.
  absl::Status fill_mask(std::span<std::uint32_t> mask);
  std::size_t mask_words() const;

  // Of a draft tree, node i has the token tokens[i] and stands below parents[i] < i, or below this state where that is
  // -1. Both stay where they are.
  //
  // Sets allowed[i] to 1 where node i and all above it are allowed, else to 0. Makes no masks.
  absl::Status check_tree(std::span<const std::int32_t> parents, std::span<const TokenId> tokens,
                          std::span<std::uint8_t> allowed);
  // Fills one mask for each node: what may come after it. masks: the same number of words, at least mask_words(), for
  // each node in turn; zeros at and below a token that is not allowed.
  absl::Status fill_tree_masks(std::span<const std::int32_t> parents, std::span<const TokenId> tokens,
                               std::span<std::uint32_t> masks);

  // Takes back the last `count` accepted tokens. ERRORS: InvalidArgument for more than were accepted.
  absl::Status rollback(int count);

  // Returns another matcher at the same place. Copies the whole history: for a tree of drafts use fill_tree_masks.
  absl::StatusOr<GrammarMatcher> fork() const;

  // Whether the output is complete: an end token may come.
  bool is_finished() const;
  // Whether an end token came.
  bool is_ended() const;

  // Returns tokens for the text that must come next whatever the model says; empty where it has a choice. Another
  // cutting of that text into tokens may be allowed too.
  absl::StatusOr<std::vector<TokenId>> forced_tokens() const;

 private:
  struct State;
  explicit GrammarMatcher(std::unique_ptr<State> state);
  template <typename Call>
  auto counted_call(Call&& call) const;
  // Calls visit(i) for every allowed node, standing there.
  absl::Status walk_tree(std::span<const std::int32_t> parents, std::span<const TokenId> tokens,
                         absl::FunctionRef<absl::Status(std::size_t)> visit);

  std::unique_ptr<State> state_;
};

}  // namespace coppice::text
