// GrammarConstraint: a compiled grammar as what holds a sequence of the engine to it.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/constraint.h"
#include "text/grammar/grammar.h"

namespace coppice::server {

// Owner and thread: as engine::ConstraintSource says.
class GrammarSource final : public engine::ConstraintSource {
 public:
  explicit GrammarSource(text::CompiledGrammar grammar) : grammar_(std::move(grammar)) {}

  const text::CompiledGrammar& grammar() const { return grammar_; }
  absl::StatusOr<std::unique_ptr<engine::TokenConstraint>> begin() const override;

 private:
  text::CompiledGrammar grammar_;
};

// Every token is limited. After the grammar's end only end tokens may come.
//
// Work is counted in the matcher's steps, not in time, so a sequence that fails for it fails always: with
// ResourceExhausted, when one call or all together take more than they may. The trial (grammar_trial.h) refuses most
// such grammars before, but it cannot go everywhere.
class GrammarConstraint final : public engine::TokenConstraint {
 public:
  static absl::StatusOr<GrammarConstraint> create(text::CompiledGrammar grammar);

  absl::Status accept(TokenId token) override;
  absl::Status check_draft(const engine::DraftNodes& draft, std::span<std::uint8_t> allowed) override;
  absl::Status fill_masks(const engine::DraftNodes& draft, std::span<std::uint32_t> masks,
                          std::span<std::uint8_t> limited) override;
  absl::StatusOr<std::vector<TokenId>> forced_tokens() override;

  bool is_ended() const { return matcher_.is_ended(); }
  std::size_t mask_words() const { return matcher_.mask_words(); }

 private:
  explicit GrammarConstraint(text::GrammarMatcher matcher) : matcher_(std::move(matcher)) {}
  // Returns what `call` returns, which takes `steps_max` at most; `steps` is set to what it took.
  template <typename Call>
  auto bounded(std::int64_t steps_max, std::int64_t& steps, Call&& call);

  text::GrammarMatcher matcher_;
  std::int64_t tokens_ = 0;  // accepted
  std::int64_t masks_ = 0;
  std::int64_t steps_ = 0;         // of all calls so far
  std::int64_t accept_steps_ = 0;  // of all accept() so far: what they leave behind stays in memory
  std::int64_t last_accept_ = 0;   // steps
  std::int64_t last_mask_ = 0;     // steps of the last mask that followed no draft
  std::int64_t last_forced_ = 0;   // steps
};

}  // namespace coppice::server
