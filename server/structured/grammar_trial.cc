// The texts are drawn, always the same ones.
#include "server/structured/grammar_trial.h"

#include <fmt/format.h>
#include <time.h>

#include <bit>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/status_macros.h"

namespace coppice::server {
namespace {

constexpr int kTexts = 4;                     // that are drawn: a grammar's branches are seldom all slow or all fast
constexpr int kTextTokens = 16;               // into some nested values, where structure is preferred
constexpr int kMasks = kTexts * kTextTokens;  // of all texts
constexpr std::size_t kMaskBits = 32;         // of a word of a mask

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

}  // namespace

std::chrono::nanoseconds thread_time() {
  timespec time{};
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

absl::Status try_masks(const text::CompiledGrammar& grammar, const text::Tokenizer& tokenizer) {
  std::mt19937 random(1);
  std::chrono::nanoseconds taken{0};
  int masks = 0;
  for (int text = 0; text < kTexts; ++text) {
    COPPICE_ASSIGN_OR_RETURN(text::GrammarMatcher matcher, text::GrammarMatcher::create(grammar));
    std::vector<std::uint32_t> mask(matcher.mask_words());
    for (int i = 0; i < kTextTokens && !matcher.is_ended(); ++i) {
      const std::chrono::nanoseconds begin = thread_time();
      COPPICE_RETURN_IF_ERROR(matcher.fill_mask(mask));
      taken += thread_time() - begin;
      ++masks;
      if (taken > kMaskTimeMax * kMasks) {
        return too_slow(taken, masks);
      }
      const std::size_t allowed = count_allowed(mask);
      if (allowed == 0) {
        return absl::InvalidArgumentError("the model has no token for what has to come after some of its texts");
      }
      COPPICE_RETURN_IF_ERROR(matcher.accept(choose(mask, allowed, tokenizer, random)).status());
    }
  }
  return taken > kMaskTimeMax * masks ? too_slow(taken, masks) : absl::OkStatus();
}

}  // namespace coppice::server
