// The engine's questions, put to the matcher.
#include "server/structured/grammar_constraint.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/status_macros.h"
#include "server/structured/grammar_trial.h"

namespace coppice::server {
namespace {

// Of a sequence's masks, beside what they may take on average.
constexpr std::chrono::seconds kMaskTimeFree{2};

}  // namespace

absl::StatusOr<std::unique_ptr<engine::TokenConstraint>> GrammarSource::begin() const {
  COPPICE_ASSIGN_OR_RETURN(text::GrammarMatcher matcher, text::GrammarMatcher::create(grammar_));
  return std::make_unique<GrammarConstraint>(std::move(matcher));
}

absl::Status GrammarConstraint::accept(TokenId token) {
  COPPICE_ASSIGN_OR_RETURN(const bool is_allowed, matcher_.accept(token));
  return is_allowed ? absl::OkStatus()
                    : absl::InvalidArgumentError(fmt::format("the grammar does not allow the token {} here", token));
}

absl::Status GrammarConstraint::check_draft(const engine::DraftNodes& draft, std::span<std::uint8_t> allowed) {
  return matcher_.check_tree(draft.parents, draft.tokens, allowed);
}

absl::Status GrammarConstraint::fill_masks(const engine::DraftNodes& draft, std::span<std::uint32_t> masks,
                                           std::span<std::uint8_t> limited) {
  const std::size_t entries = 1 + draft.tokens.size();
  COPPICE_CHECK(limited.size() == entries && masks.size() % entries == 0, "one mask an entry");
  std::fill(limited.begin(), limited.end(), std::uint8_t{1});
  const std::size_t words = masks.size() / entries;
  const std::chrono::nanoseconds begin = thread_time();
  COPPICE_RETURN_IF_ERROR(matcher_.fill_mask(masks.first(words)));
  COPPICE_RETURN_IF_ERROR(matcher_.fill_tree_masks(draft.parents, draft.tokens, masks.subspan(words)));
  mask_time_ += thread_time() - begin;
  masks_ += static_cast<std::int64_t>(entries);
  if (mask_time_ > kMaskTimeFree + kMaskTimeMax * masks_) {
    return absl::ResourceExhaustedError("the grammar takes too long to find which tokens may come next");
  }
  const auto is_dead_end = [&](std::size_t entry) {
    const auto mask = masks.subspan(entry * words, words);
    return std::all_of(mask.begin(), mask.end(), [](std::uint32_t word) { return word == 0; });
  };
  if (is_dead_end(0)) {
    return absl::InternalError("the model has no token for what its grammar wants next");
  }
  // A dead end below a draft fails the sequence when it stands there, with and without drafts: accept() refuses
  // whatever is drawn.
  for (std::size_t entry = 1; entry < entries; ++entry) {
    limited[entry] = is_dead_end(entry) ? 0 : 1;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> GrammarConstraint::forced_tokens() {
  return matcher_.forced_tokens();
}

}  // namespace coppice::server
