// The engine's questions, put to the matcher, each with a bound on its work: other requests wait meanwhile.
#include "server/structured/grammar_constraint.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/status_macros.h"

namespace coppice::server {
namespace {

// A step takes 4 to 25 ns. Most tokens take some hundred, most masks some thousand.
constexpr std::int64_t kAcceptMax = 1'000'000;  // of one token: 25 ms at worst
constexpr std::int64_t kMaskMax = 2'000'000;    // of one mask: 50 ms at worst
constexpr std::int64_t kDraftMax = 500'000;     // that a draft may be expected to take; a longer one is left out
constexpr std::int64_t kForcedMax = 500'000;
// Of all tokens of a sequence. A step leaves up to 10 bytes behind.
constexpr std::int64_t kAcceptsFree = 20'000'000;
constexpr std::int64_t kAcceptsEach = 40'000;
// Of all calls for a sequence: 1 s, and 20 ms for each token and mask.
constexpr std::int64_t kFree = 40'000'000;
constexpr std::int64_t kEach = 800'000;

}  // namespace

absl::StatusOr<std::unique_ptr<engine::TokenConstraint>> GrammarSource::begin() const {
  COPPICE_ASSIGN_OR_RETURN(GrammarConstraint constraint, GrammarConstraint::create(grammar_));
  return std::make_unique<GrammarConstraint>(std::move(constraint));
}

absl::StatusOr<GrammarConstraint> GrammarConstraint::create(text::CompiledGrammar grammar) {
  absl::StatusOr<text::GrammarMatcher> matcher = text::GrammarMatcher::create(std::move(grammar), kAcceptMax);
  if (absl::IsOutOfRange(matcher.status())) {
    return absl::ResourceExhaustedError("the grammar takes too much work to begin");
  }
  COPPICE_RETURN_IF_ERROR(matcher.status());
  return GrammarConstraint(*std::move(matcher));
}

template <typename Call>
auto GrammarConstraint::bounded(std::int64_t steps_max, std::int64_t& steps, Call&& call) {
  const std::int64_t left = kFree + kEach * (tokens_ + masks_) - steps_;
  steps_max = std::clamp<std::int64_t>(left, 0, steps_max);
  matcher_.set_steps_left(steps_max);
  auto result = call();
  steps = steps_max - matcher_.steps_left();
  steps_ += steps;
  return result;
}

absl::Status GrammarConstraint::accept(TokenId token) {
  const std::int64_t left = kAcceptsFree + kAcceptsEach * tokens_ - accept_steps_;
  const absl::StatusOr<bool> is_allowed =
      bounded(std::min(kAcceptMax, left), last_accept_, [&] { return matcher_.accept(token); });
  if (absl::IsOutOfRange(is_allowed.status())) {
    return absl::ResourceExhaustedError(
        "the grammar takes too much work to follow: it has too many ways to read a text");
  }
  COPPICE_RETURN_IF_ERROR(is_allowed.status());
  accept_steps_ += last_accept_;
  tokens_ += *is_allowed ? 1 : 0;
  return *is_allowed ? absl::OkStatus()
                     : absl::InvalidArgumentError(fmt::format("the grammar does not allow the token {} here", token));
}

absl::Status GrammarConstraint::check_draft(const engine::DraftNodes& draft, std::span<std::uint8_t> allowed) {
  if ((last_accept_ + last_mask_) * static_cast<std::int64_t>(draft.tokens.size()) > kDraftMax) {
    std::fill(allowed.begin(), allowed.end(), std::uint8_t{0});
    return absl::OkStatus();
  }
  std::int64_t steps = 0;
  const absl::Status status =
      bounded(kMaskMax, steps, [&] { return matcher_.check_tree(draft.parents, draft.tokens, allowed); });
  return absl::IsOutOfRange(status) ? absl::ResourceExhaustedError("the grammar takes too much work to check a draft")
                                    : status;
}

absl::Status GrammarConstraint::fill_masks(const engine::DraftNodes& draft, std::span<std::uint32_t> masks,
                                           std::span<std::uint8_t> limited) {
  const std::size_t entries = 1 + draft.tokens.size();
  COPPICE_CHECK(limited.size() == entries && masks.size() % entries == 0, "one mask an entry");
  std::fill(limited.begin(), limited.end(), std::uint8_t{1});
  const std::size_t words = masks.size() / entries;
  std::int64_t steps = 0;
  absl::Status status = bounded(kMaskMax, last_mask_, [&] { return matcher_.fill_mask(masks.first(words)); });
  if (status.ok()) {
    status = bounded(kMaskMax, steps,
                     [&] { return matcher_.fill_tree_masks(draft.parents, draft.tokens, masks.subspan(words)); });
  }
  masks_ += static_cast<std::int64_t>(entries);
  if (absl::IsOutOfRange(status)) {
    return absl::ResourceExhaustedError("the grammar takes too long to find which tokens may come next");
  }
  COPPICE_RETURN_IF_ERROR(status);
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

// What is forced is drafted, and costly drafts are left out (check_draft).
absl::StatusOr<std::vector<TokenId>> GrammarConstraint::forced_tokens() {
  if (std::max({last_accept_, last_mask_, last_forced_}) > kDraftMax / 4) {
    last_forced_ /= 2;  // and later asked for again
    return std::vector<TokenId>();
  }
  absl::StatusOr<std::vector<TokenId>> forced =
      bounded(kForcedMax, last_forced_, [&] { return matcher_.forced_tokens(); });
  if (absl::IsOutOfRange(forced.status())) {
    return absl::ResourceExhaustedError("the grammar takes too much work to find what must come next");
  }
  return forced;
}

}  // namespace coppice::server
