// The texts are drawn, always the same ones.
#include "server/structured/grammar_trial.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "server/structured/grammar_constraint.h"

namespace coppice::server {
namespace {

constexpr int kTexts = 4;                     // that are drawn: a grammar's branches are seldom all slow or all fast
constexpr int kTextTokens = 16;               // into some nested values, where structure is preferred
constexpr int kMasks = kTexts * kTextTokens;  // of all texts
// Of texts that go on where tokens are like the last ones, as in a loop: there the ways to read a text add up.
constexpr int kLongTokens = 256;
constexpr int kLongMasks = 64;         // a mask serves as long as it names tokens that may come,
constexpr int kMaskTokens = 16;        // and no longer than for this many: masks may grow with a text
constexpr std::size_t kMaskBits = 32;  // of a word of a mask

std::size_t count_allowed(const std::vector<std::uint32_t>& mask) {
  std::size_t count = 0;
  for (const std::uint32_t word : mask) {
    count += static_cast<std::size_t>(std::popcount(word));
  }
  return count;
}

// The allowed token number `index`.
TokenId token_at(const std::vector<std::uint32_t>& mask, std::size_t index) {
  for (std::size_t word = 0;; ++word) {
    const auto here = static_cast<std::size_t>(std::popcount(mask[word]));
    if (index >= here) {
      index -= here;
      continue;
    }
    std::uint32_t bits = mask[word];
    for (; index > 0; --index) {
      bits &= bits - 1;
    }
    return static_cast<TokenId>(word * kMaskBits + static_cast<std::size_t>(std::countr_zero(bits)));
  }
}

// An allowed token, of some the first that ends or begins something: else every text would stay in its first string.
TokenId choose(const std::vector<std::uint32_t>& mask, std::size_t allowed, const text::Tokenizer& tokenizer,
               std::mt19937& random) {
  constexpr int kCandidates = 6;  // tokens looked at for one that does
  constexpr std::string_view kStructure = "\"{}[],:<>()";
  const TokenId first = token_at(mask, random() % allowed);
  for (int i = 1; i < kCandidates; ++i) {
    const TokenId token = token_at(mask, random() % allowed);
    const std::string bytes = token < tokenizer.vocab_size() ? tokenizer.token_bytes(token) : "";
    if (!bytes.empty() && kStructure.find(bytes[0]) != std::string_view::npos) {
      return token;
    }
  }
  return first;
}

absl::Status too_slow(std::chrono::nanoseconds taken, int masks) {
  const auto each = std::chrono::duration_cast<std::chrono::milliseconds>(taken / masks);
  return absl::OutOfRangeError(
      fmt::format("it takes {} ms to find which tokens may come next, and at most {} are allowed: it has too many ways "
                  "to go on",
                  each.count(), kMaskTimeMax.count()));
}

// What a sequence would fail with, as a refusal. A sequence is allowed as much and no more.
absl::Status as_refusal(const absl::Status& status) {
  if (absl::IsResourceExhausted(status)) {
    return absl::OutOfRangeError(
        "one text can be read in too many ways: a repetition of what may be empty, repetitions inside repetitions or a "
        "rule that names itself twice");
  }
  return absl::IsInternal(status) ? absl::InvalidArgumentError(status.message()) : status;
}

absl::StatusOr<GrammarConstraint> begin_text(const text::CompiledGrammar& grammar, std::vector<std::uint32_t>& mask) {
  absl::StatusOr<GrammarConstraint> constraint = GrammarConstraint::create(grammar);
  if (!constraint.ok()) {
    return as_refusal(constraint.status());
  }
  mask.assign(constraint->mask_words(), 0);
  return constraint;
}

absl::Status fill(GrammarConstraint& constraint, std::vector<std::uint32_t>& mask) {
  std::uint8_t limited = 0;
  return as_refusal(constraint.fill_masks({}, mask, std::span(&limited, 1)));
}

// Some tokens of a mask that are text; the longest of them, if asked.
std::vector<TokenId> some_texts(const std::vector<std::uint32_t>& mask, bool are_longest,
                                const text::Tokenizer& tokenizer, std::mt19937& random) {
  constexpr int kDraws = 32;           // of tokens: a mask that allows few texts beside others is rare
  constexpr std::size_t kLongest = 8;  // of them
  const std::size_t allowed = count_allowed(mask);
  std::vector<std::pair<std::size_t, TokenId>> texts;  // by length
  for (int i = 0; i < kDraws && allowed > 0; ++i) {
    const TokenId token = token_at(mask, random() % allowed);
    if (token < tokenizer.vocab_size() && !tokenizer.is_special(token)) {
      texts.emplace_back(tokenizer.token_bytes(token).size(), token);
    }
  }
  if (are_longest) {
    std::sort(texts.rbegin(), texts.rend());
    texts.resize(std::min(texts.size(), kLongest));
  }
  std::vector<TokenId> tokens;
  for (const auto& [length, token] : texts) {
    tokens.push_back(token);
  }
  return tokens;
}

// Follows the grammar where it can go on for long.
absl::Status try_long_text(GrammarConstraint& constraint, std::vector<std::uint32_t>& mask, bool is_longest,
                           const text::Tokenizer& tokenizer) {
  std::mt19937 random(2);
  std::vector<TokenId> texts;  // of the last mask
  int masks = 0;
  const auto take = [&] {
    return texts.empty() ? absl::InvalidArgumentError("no text may come")
                         : constraint.accept(texts[random() % texts.size()]);
  };
  for (int i = 0; i < kLongTokens && !constraint.is_ended(); ++i) {
    if (i % kMaskTokens == 0) {
      texts.clear();
    }
    absl::Status taken = take();
    if (absl::IsInvalidArgument(taken)) {  // the mask is of an earlier place
      if (++masks > kLongMasks) {
        break;
      }
      COPPICE_RETURN_IF_ERROR(fill(constraint, mask));
      texts = some_texts(mask, is_longest, tokenizer, random);
      taken = take();
      if (absl::IsInvalidArgument(taken)) {
        break;  // only its end may come
      }
    }
    COPPICE_RETURN_IF_ERROR(as_refusal(taken));
  }
  return absl::OkStatus();
}

}  // namespace

std::chrono::nanoseconds thread_time() {
  timespec time{};
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

absl::Status try_masks(const text::CompiledGrammar& grammar, const text::Tokenizer& tokenizer,
                       std::chrono::nanoseconds mask_time_max) {
  std::mt19937 random(1);
  std::chrono::nanoseconds taken{0};
  int masks = 0;
  std::vector<std::uint32_t> mask;
  for (int text = 0; text < kTexts; ++text) {
    COPPICE_ASSIGN_OR_RETURN(GrammarConstraint constraint, begin_text(grammar, mask));
    for (int i = 0; i < kTextTokens && !constraint.is_ended(); ++i) {
      const std::chrono::nanoseconds begin = thread_time();
      COPPICE_RETURN_IF_ERROR(fill(constraint, mask));
      taken += thread_time() - begin;
      ++masks;
      if (taken > mask_time_max * kMasks) {
        return too_slow(taken, masks);
      }
      COPPICE_RETURN_IF_ERROR(as_refusal(constraint.forced_tokens().status()));
      const TokenId token = choose(mask, count_allowed(mask), tokenizer, random);
      COPPICE_RETURN_IF_ERROR(as_refusal(constraint.accept(token)));
    }
  }
  if (taken > mask_time_max * masks) {
    return too_slow(taken, masks);
  }
  for (const bool is_longest : {true, false}) {
    COPPICE_ASSIGN_OR_RETURN(GrammarConstraint constraint, begin_text(grammar, mask));
    COPPICE_RETURN_IF_ERROR(try_long_text(constraint, mask, is_longest, tokenizer));
  }
  return absl::OkStatus();
}

}  // namespace coppice::server
