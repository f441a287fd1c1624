// GrammarConstraint: a compiled grammar as what holds a sequence of the engine to it.
#pragma once

#include <chrono>
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

// Every token is limited. After the grammar's end only end tokens may come. A sequence whose masks take many times what
// they may (grammar_trial.h) ends with ResourceExhausted: the trial cannot go everywhere.
class GrammarConstraint final : public engine::TokenConstraint {
 public:
  explicit GrammarConstraint(text::GrammarMatcher matcher) : matcher_(std::move(matcher)) {}

  absl::Status accept(TokenId token) override;
  absl::Status check_draft(const engine::DraftNodes& draft, std::span<std::uint8_t> allowed) override;
  absl::Status fill_masks(const engine::DraftNodes& draft, std::span<std::uint32_t> masks,
                          std::span<std::uint8_t> limited) override;
  absl::StatusOr<std::vector<TokenId>> forced_tokens() override;

 private:
  text::GrammarMatcher matcher_;
  std::chrono::nanoseconds mask_time_{0};  // so far
  std::int64_t masks_ = 0;
};

}  // namespace coppice::server
